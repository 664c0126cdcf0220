"""Base of `LSTM` and `LSTMCell`: attributes, parameters, and the call of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lstmcore.config import LSTMConfig
from lstmcore.torch import autograd, compiled
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import MASKS, Plan, options_text, plan_of
from lstmcore.torch.tensors import FLOAT_TYPES, expect_tensor, seed_of
from lstmcore.torch.weights import Freezable, Remembered


class Recurrent(Freezable):
    """A module with the attributes and parameters of torch.nn and the options of lstmcore."""

    # As in PyTorch's modules, so that `replace_lstm` and `restore_lstm` need only change the class.
    input_size: int
    hidden_size: int
    num_layers = 1
    bias: bool
    dropout = 0.0
    bidirectional = False
    proj_size = 0

    _options = ""
    _masks = False
    _remembered: Remembered | None = None
    _parameter_names: tuple[str, ...]

    def _plan(self) -> Plan:
        return plan_of(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bool(self.bias),  # torch.nn's modules may hold numbers
            self.dropout,
            bool(self.bidirectional),
            self.proj_size,
            self._options,
        )

    @property
    def config(self) -> LSTMConfig:
        """Sizes and options of the engine."""
        return self._plan().config

    def _make(self, config: LSTMConfig, recompute: Any, device: Any, dtype: Any) -> None:
        """Set the attributes that PyTorch does not have, and make the parameters."""
        self._options = options_text(config, recompute)
        plan = self._plan()
        self._set_names(plan)
        element = torch.get_default_dtype() if dtype is None else dtype
        if element not in FLOAT_TYPES:
            raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {element}")
        for name, shape in zip(self._parameter_names, plan.shapes, strict=True):
            values = torch.empty(shape, device=device, dtype=element)
            self.register_parameter(name, torch.nn.Parameter(values))
        self.reset_parameters()

    def _set_names(self, plan: Plan) -> None:
        self._parameter_names = plan.names
        self._masks = any(getattr(plan.config, name) > 0 for name in MASKS)

    def reset_parameters(self) -> None:
        """Draw weights and biases from U(-1/sqrt(H), 1/sqrt(H)), in the order torch.nn.LSTM does.

        Peephole weights become 0, gains of layer normalization 1, and its bias for c becomes 0.
        """
        bound = 1.0 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("gain"):
                torch.nn.init.ones_(parameter)
            elif name.startswith(("peephole", "bias_c")):
                torch.nn.init.zeros_(parameter)
            else:
                torch.nn.init.uniform_(parameter, -bound, bound)

    def _run(
        self,
        x: Any,
        h: Any,
        c: Any,
        seed: Any,
        steps: tuple[Any, Any, Any],
        *,
        time_major: bool = False,
        cell: bool = False,
        sequences: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Call the engine; `steps` are lengths, reset and mask, tensors in the engine's layout."""
        weights = [getattr(self, name) for name in self._parameter_names]
        random = self.training and (self._masks or (self.dropout > 0 and self.num_layers > 1))
        if random:
            seed = seed_of(seed)
        elif seed is not None:
            seed_of(seed)
            seed = None
        if torch.compiler.is_compiling():
            if torch._C._are_functorch_transforms_active():
                # The operator has no rules for them, and jvp would treat its result as a constant.
                # Without fullgraph=True PyTorch then runs the function uncompiled.
                raise RuntimeError(
                    "torch.compile: expected no transform of torch.func around lstmcore's modules "
                    "inside compiled functions, got one: apply it outside torch.compile"
                )
            tensors = [tensor for tensor in (x, h, c, *weights) if tensor is not None]
            keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
            sizes = [self.input_size, self.hidden_size, self.num_layers, self.proj_size]
            how = (
                sizes,
                bool(self.bias),
                self.dropout,
                bool(self.bidirectional),
                self._options,
            )
            description = (*steps, seed, *how, time_major, cell, sequences, random)
            return compiled.lstm(x, h, c, weights, description, keep)
        plan = self._plan()
        packed = None
        if torch._C._are_functorch_transforms_active():
            _refuse_batched(*steps, seed)
        else:
            if self._remembered is None:
                self._remembered = Remembered()
            blocks = self._frozen  # read once, since another thread may end its block
            packed = (blocks[-1] if blocks else self._remembered).packed(plan, weights)
        lengths, reset, mask = (None if tensor is None else tensor.numpy() for tensor in steps)
        call = Call(
            plan,
            time_major,
            cell,
            sequences,
            lengths,
            reset,
            mask,
            0 if seed is None else int(seed),
            random,
            packed,
        )
        return autograd.lstm(call, x, h, c, weights)

    def _expect_state(
        self,
        h: Any,
        c: Any,
        axes: tuple[int, ...],
        letters: str,
        hint: Callable[[tuple[int, ...]], str] = lambda shape: "",
    ) -> None:
        """Raise unless h and c are None or tensors with `axes` before their features.

        In errors `letters` names the axes, and `hint` adds advice for a wrong shape.
        """
        parts = (
            (h, "hx[0]", "P" if self.proj_size else "H", self.proj_size or self.hidden_size),
            (c, "hx[1]", "H", self.hidden_size),
        )
        for part, name, letter, width in parts:
            if part is None:
                continue
            expect_tensor(part, name)
            shape = shape_of(part)
            if shape != (*axes, width):
                raise ValueError(
                    f"{name}: expected ({letters}{letter}) = {(*axes, width)}, got "
                    f"{shape}{hint(shape)}"
                )

    def _slow_forward(self, *arguments: Any, **options: Any) -> Any:
        """Raise while PyTorch traces, which calls this method instead of `forward`."""
        self._refuse_tracing()
        return super()._slow_forward(*arguments, **options)

    def __prepare_scriptable__(self) -> Any:
        """Raise for torch.jit.script, which calls this method first."""
        raise RuntimeError(
            "torch.jit.script cannot compile lstmcore's modules: use torch.compile or "
            "torch.export, or compile after restore_lstm(model)"
        )

    def _as_node(self, input: Any, hx: Any, options: dict[str, Any]) -> Any:
        """Add a call of the module to the graph of torch.fx, which does so for torch.nn's own."""
        given = {name: value for name, value in options.items() if value is not None}
        arguments = (input,) if hx is None else (input, hx)
        path = input.tracer.path_of_module(self)
        if not path:
            raise RuntimeError(
                "torch.fx.symbolic_trace: expected a model that has this module in it, got the "
                "module itself, which is traced as a whole"
            )
        return input.tracer.create_proxy("call_module", path, arguments, given)

    def _refuse_tracing(self) -> None:
        if torch.jit.is_tracing():
            raise RuntimeError(
                "torch.jit.trace would record lstmcore's results as constants: use torch.compile "
                "or torch.export, or trace after restore_lstm(model)"
            )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_frozen", "_remembered", "_steps"):
            state.pop(name, None)
        return state


def _refuse_batched(*tensors: Any) -> None:
    """Raise if one of the tensors differs between the examples of a ``torch.func.vmap``."""
    for tensor, name in zip(tensors, ("lengths", "reset", "mask", "seed"), strict=True):
        if tensor is not None and torch._C._functorch.is_batchedtensor(tensor):
            advice = "make it part of the LSTM's batch, or loop"
            if name == "seed":
                advice += ', or ask for the same masks with vmap(..., randomness="same")'
            raise RuntimeError(
                f"{name}: expected the same for all examples of torch.func.vmap, got one for each: "
                f"{advice}"
            )


def flag_of(value: Any, name: str) -> bool:
    """Return a constructor's flag as a bool; as in torch.nn, 1 and 0 are accepted as well."""
    if not isinstance(value, (bool, int, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def pair_of(hx: Any) -> tuple[Any, Any]:
    """Return h and c of a state; None stands for zeros."""
    if hx is None:
        return None, None
    if isinstance(hx, torch.Tensor):
        raise TypeError(f"hx: expected a pair (h_0, c_0), got a tensor of shape {shape_of(hx)}")
    if not isinstance(hx, Sequence) or len(hx) != 2:
        raise TypeError(f"hx: expected a pair (h_0, c_0) of tensors, got {repr(hx)[:60]}")
    return hx[0], hx[1]


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return the shape of `tensor` in the form that errors show."""
    return tuple(tensor.shape)

"""What `LSTM` and `LSTMCell` add to PyTorch's modules: options, and the call of the engine."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.utils import parametrize

from lstmcore import _checks
from lstmcore.config import LSTMConfig
from lstmcore.torch import autograd, compiled
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan, options_text, plan_of
from lstmcore.torch.tensors import (
    FLOAT_TYPES,
    InputError,
    InputTypeError,
    complaint,
    expect_tensor,
    input_error,
    pytorchs_words,
    seed_of,
)
from lstmcore.torch.weights import Freezable, Remembered

_CACHES = ("_frozen", "_remembered", "_steps")  # made anew in a copy
_OWN = ("_options", "_masks", *_CACHES)  # what torch.nn's modules do not have


class Recurrent(Freezable):
    """The part of `LSTM` and `LSTMCell` that is ours; each is derived from torch.nn's class, too.

    A module with PyTorch's options alone has PyTorch's attributes alone, so that `replace_lstm` and
    `restore_lstm` need only change the class.
    """

    # Those of torch.nn.LSTM, for cells.
    input_size: int
    hidden_size: int
    num_layers = 1
    bias: bool
    dropout = 0.0
    bidirectional = False
    proj_size = 0

    _of_torch: ClassVar[type[torch.nn.Module]]
    """The class of torch.nn that this one is derived from."""

    _options = ""
    _masks = False
    _remembered: Remembered | None = None

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

    def _set_options(self, plan: Plan, recompute: Any) -> None:
        if text := options_text(plan.config, recompute):
            self._options = text
        if plan.masks:
            self._masks = True

    def _make_parameters(self, plan: Plan, names: Sequence[str], device: Any, dtype: Any) -> None:
        """Put parameters with `names` in place of those that PyTorch's constructor made."""
        for name in list(self._parameters):
            if self._parameters[name] is not None:
                delattr(self, name)
        for name, shape in zip(names, plan.shapes, strict=True):
            values = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, torch.nn.Parameter(values))

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
        weights: Sequence[Any],
        seed: Any,
        steps: tuple[Any, Any, Any],
        *,
        time_major: bool = False,
        cell: bool = False,
        sequences: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Call the engine; `steps` are lengths, reset and mask, tensors in the engine's layout."""
        how = (time_major, cell, sequences)
        if torch.compiler.is_compiling():
            return self._run_compiled(x, h, c, weights, seed, steps, how)
        try:
            return self._run_now(x, h, c, weights, seed, steps, how)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise input_error(error) from error

    def _seed(self, seed: Any) -> tuple[Any, bool]:
        """Return the seed of the masks, None if none are drawn, and whether they are."""
        random = self.training and (self._masks or (self.dropout > 0 and self.num_layers > 1))
        if random:
            return seed_of(seed), True
        if seed is not None:
            seed_of(seed)
        return None, False

    def _run_compiled(
        self,
        x: Any,
        h: Any,
        c: Any,
        weights: Sequence[Any],
        seed: Any,
        steps: tuple[Any, Any, Any],
        how: tuple[bool, bool, bool],
    ) -> tuple[Any, Any, Any]:
        """Put the engine's operator into the graph."""
        seed, random = self._seed(seed)
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
        what = (sizes, bool(self.bias), self.dropout, bool(self.bidirectional), self._options)
        description = (*steps, seed, *what, *how, random)
        return compiled.lstm(x, h, c, weights, description, keep)

    def _run_now(
        self,
        x: Any,
        h: Any,
        c: Any,
        weights: Sequence[Any],
        seed: Any,
        steps: tuple[Any, Any, Any],
        how: tuple[bool, bool, bool],
    ) -> tuple[Any, Any, Any]:
        kind = getattr(weights[0], "dtype", None)
        if x.dtype is not kind and kind in FLOAT_TYPES:
            raise InputTypeError(complaint(x, "input", weights[0]) + self._words_of_dtype(x))
        seed, random = self._seed(seed)
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
        number = 0 if seed is None else int(seed)
        call = Call(plan, *how, lengths, reset, mask, number, random, packed)
        return autograd.lstm(call, x, h, c, weights)

    def _words_of_dtype(self, x: Any) -> str:
        return ""

    def _words(self, input: Any, h: Any, c: Any) -> str:
        """Return PyTorch's message for an input and a state that are refused here."""
        if self._beyond_torch():
            return ""
        hx = None if h is None and c is None else (h, c)
        return pytorchs_words(self._of_torch.forward, self, input, hx)

    def _expect_state(
        self,
        h: Any,
        c: Any,
        axes: tuple[int, ...],
        letters: str,
        words: Callable[[], str],
        hint: Callable[[tuple[int, ...]], str] = lambda shape: "",
    ) -> None:
        """Raise unless h and c are None or tensors with `axes` before their features.

        In errors `letters` names the axes, `hint` adds advice for a wrong shape, and `words` what
        PyTorch says.
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
                raise InputError(
                    f"{name}: expected ({letters}{letter}) = {(*axes, width)}, got "
                    f"{shape}{hint(shape)}{words()}"
                )

    def _collect_samples(self, input: Any, hx: Any, options: Sequence[Any]) -> tuple[Any, Any]:
        """Return the result of PyTorch's forward, for weights that collect gradients by sample.

        Such weights (`call_for_per_sample_grads`) implement PyTorch's functions one by one; where
        one is missing, as that of the cell, PyTorch raises RuntimeError.
        """
        if self._beyond_torch() or any(option is not None for option in options):
            raise InputTypeError(
                "call_for_per_sample_grads: expected a module and a call with torch.nn's options "
                "alone, got lstmcore's: use torch.func.vmap over torch.func.grad, which supports "
                "all of them"
            )
        output, state = self._of_torch.forward(self, input, hx)
        return output, state

    # ---- quantization by PyTorch -----------------------------------------------------------------

    @property
    def qconfig(self) -> Any:
        """How ``torch.ao.quantization`` quantizes this module.

        It finds modules by their exact classes. So one that gets a ``QConfig`` becomes torch.nn's,
        as by `restore_lstm`, and is then quantized.
        """
        try:
            return self.__dict__["qconfig"]
        except KeyError:
            raise AttributeError("qconfig") from None

    @qconfig.setter
    def qconfig(self, value: Any) -> None:
        self.__dict__["qconfig"] = value
        name = self._of_torch.__name__
        if value is None:
            warnings.warn(
                f"torch.ao.quantization passes over lstmcore.torch.{name}, even where torch.nn."
                f"{name} is to be quantized: to have it quantized, pass lstmcore.torch.{name} too, "
                "or call restore_lstm(model) first",
                stacklevel=2,
            )
        elif self._of_torch not in type(self).__bases__:
            warnings.warn(
                f"torch.ao.quantization leaves a module of class {type(self).__name__} as it "
                "is: it is derived from lstmcore.torch's and may compute something else",
                stacklevel=2,
            )
        elif foreign := self._beyond_torch():
            del self.__dict__["qconfig"]
            raise ValueError(
                "qconfig: expected a module with torch.nn's options alone, which PyTorch can "
                f"quantize, got {name} with {foreign}: leave it out of what is quantized"
            )
        else:
            self._become_torchs()

    @qconfig.deleter
    def qconfig(self) -> None:
        if self.__dict__.pop("qconfig", self) is self:
            raise AttributeError("qconfig")

    def _beyond_torch(self) -> str:
        """Return which options of this module torch.nn's class does not have, "" if it has all."""
        raise NotImplementedError

    def _become_torchs(self) -> None:
        """Change the class to torch.nn's, which has all options of this module."""
        for name in _OWN:
            self.__dict__.pop(name, None)
        self.__class__ = self._of_torch

    # ---- tracing and copies ----------------------------------------------------------------------

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

    def _attributes(self) -> dict[str, Any]:
        """Return the attributes that PyTorch copies."""
        return self.__dict__.copy()

    def __getstate__(self) -> dict[str, Any]:
        state = self._attributes()
        for name in _CACHES:
            state.pop(name, None)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # PyTorch derives the class of a parametrized module, whose `__getstate__` refuses pickling,
        # and would copy the caches, too.
        parametrized = parametrize.is_parametrized(self)
        state = Recurrent.__getstate__(self) if parametrized else self.__getstate__()
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__setstate__(copy.deepcopy(state, memo))
        return other


def collects_samples(weights: Sequence[Any]) -> bool:
    """Return whether weights are those of ``torch.nn.utils``' `call_for_per_sample_grads`."""
    # By name, since importing the class imports all of PyTorch's decompositions.
    kinds = {type(weight) for weight in weights}
    return any(kind.__name__ == "ExpandedWeight" for kind in kinds)


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
        raise TypeError(f"{name}: expected True or False, got {_checks.quote(value)}")
    return bool(value)


def dtype_of(value: Any) -> Any:
    """Return the dtype of a new module's parameters; None: PyTorch's default."""
    dtype = torch.get_default_dtype() if value is None else value
    if dtype not in FLOAT_TYPES:
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    return dtype


def device_of(value: Any) -> Any:
    """Return the device of a new module's parameters, where it is one that PyTorch can use."""
    try:
        torch.empty(0, device=value)
    except (AssertionError, RuntimeError, TypeError) as error:  # AssertionError: without CUDA
        reason = " ".join(str(error).split())  # perhaps none of the device, but of the process
        message = (
            f"device: expected one on which there can be tensors, got {_checks.quote(value)}; "
            f"PyTorch says: {reason}"
        )
        raise (InputTypeError if isinstance(error, TypeError) else InputError)(message) from error
    return value


def pair_of(hx: Any) -> tuple[Any, Any]:
    """Return h and c of a state; None stands for zeros."""
    if hx is None:
        return None, None
    if isinstance(hx, torch.Tensor):
        raise InputTypeError(
            f"hx: expected a pair (h_0, c_0), got a tensor of shape {shape_of(hx)}"
        )
    if not isinstance(hx, Sequence) or len(hx) != 2:
        raise InputTypeError(f"hx: expected a pair (h_0, c_0) of tensors, got {_checks.quote(hx)}")
    return hx[0], hx[1]


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return the shape of `tensor` in the form that errors show."""
    return tuple(tensor.shape)

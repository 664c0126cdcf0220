"""`LSTMCell`, a drop-in replacement of torch.nn.LSTMCell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Proxy

from lstmcore._signatures import shows_options
from lstmcore._typing import ArrayLike
from lstmcore.config import LSTMConfig, StepOptions, config_parameters
from lstmcore.torch import steps
from lstmcore.torch.plan import STEP_OPTIONS, Plan, check_options, options_repr
from lstmcore.torch.recurrent import (
    Recurrent,
    collects_samples,
    device_of,
    dtype_of,
    flag_of,
    pair_of,
    shape_of,
)
from lstmcore.torch.tensors import InputError, expect_tensor, flags_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Names of the parameters of torch.nn.LSTMCell, without biases and with them.
_NAMES = [Plan(LSTMConfig(1, 1, bias=bias), None).step_names for bias in (False, True)]


@shows_options(config_parameters(STEP_OPTIONS), LSTMConfig)
class LSTMCell(Recurrent, torch.nn.LSTMCell):
    """`torch.nn.LSTMCell` on lstmcore's engine, for float32 and float64 on the CPU.

    A subclass with the same arguments, parameters, names in the state dict, initial values and
    results. An `LSTM` processes a whole sequence many times as fast as a loop over a cell. If each
    input depends on the output before it, see also `frozen`.

    Parameters
    ----------
    input_size, hidden_size, bias
        As for ``torch.nn.LSTMCell``.
    device : optional
        Device of the parameters. Calls need them on the CPU.
    dtype : torch.float32 or torch.float64, optional
        None: PyTorch's default.
    proj_size : int, default 0
        P: h is projected to P features by ``weight_hr`` (P, H).
    **options
        Options of `LSTMConfig` that ``torch.nn.LSTMCell`` does not have.

    Raises
    ------
    TypeError
        If an argument is unknown or has the wrong type.
    ValueError
        If a value is wrong or options contradict each other.
    """

    _of_torch = torch.nn.LSTMCell
    _steps: steps.Packed | None = None
    _names: tuple[str, ...] = ()  # of the parameters, if torch.nn.LSTMCell has others

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int = 0,
        **options: Unpack[StepOptions],
    ) -> None:
        check_options("LSTMCell", options, STEP_OPTIONS)
        config = LSTMConfig(
            input_size,
            hidden_size,
            bias=flag_of(bias, "bias"),
            proj_size=proj_size,
            **options,
        )
        plan = Plan(config, None)
        ready = plan.has_parameters_of_torch() and not config.proj_size
        super().__init__(
            config.input_size,
            config.hidden_size,
            config.bias,
            device_of(device) if ready else "meta",
            dtype_of(dtype),
        )
        self._set_options(plan, None)
        if not ready:
            if config.proj_size:
                self.proj_size = config.proj_size
            self._names = plan.step_names
            self._make_parameters(plan, plan.step_names, device_of(device), dtype_of(dtype))
            self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, for ``repr``."""
        text = str(super().extra_repr())
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        return text + options_repr(self._options)

    def _beyond_torch(self) -> str:
        return (self._options + (f" proj_size {self.proj_size}" if self.proj_size else "")).strip()

    def _weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._weight_names()]

    def _weight_names(self) -> tuple[str, ...]:
        return self._names or _NAMES[bool(self.bias)]

    def forward(
        self,
        input: Tensor,
        hx: tuple[Tensor | None, Tensor | None] | None = None,
        *,
        reset: Tensor | ArrayLike | None = None,
        seed: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Parameters
        ----------
        input : Tensor, shape (N, C) or (C,)
            With the weights' dtype.
        hx : pair (h, c), optional
            State before the step, (N, P) and (N, H), without N if the input is unbatched. None
            stands for zeros, for the pair or for either part.
        reset : bool, shape (N,), optional
            True for rows where this step starts a new sequence, with a state of zeros.
        seed : int, optional
            Seed of the random masks, 0 to 2**63 - 1; None: drawn from PyTorch's generator. The same
            seed at every step repeats the masks of the dropouts, and those of zoneout, too.

        Returns
        -------
        h, c : Tensor
            The new state.

        Raises
        ------
        TypeError
            If a tensor has another dtype than the weights, is not on the CPU or not dense.
        ValueError
            If a shape or a value is wrong. Both are RuntimeErrors, too, as PyTorch's errors are.
        """
        if reset is None and seed is None and (stepped := steps.step(self, input, hx)) is not None:
            return stepped
        self._refuse_tracing()
        if isinstance(input, Proxy):
            return self._as_node(input, hx, {"reset": reset, "seed": seed})  # type: ignore[no-any-return]
        weights = self._weights()
        if not torch.compiler.is_compiling() and collects_samples(weights):
            return self._collect_samples(input, hx, (reset, seed))
        h, c = pair_of(hx)
        expect_tensor(input, "input")
        batched = input.dim() == 2
        if input.dim() not in (1, 2) or input.size(-1) != self.input_size:
            raise InputError(
                f"input: expected (N, C={self.input_size}) or (C={self.input_size},), "
                f"got {shape_of(input)}{self._words(input, None, None)}"
            )
        if not batched and reset is not None:
            raise InputError("reset: expected None alongside an unbatched input; pass no state")
        axes = (input.size(0),) if batched else ()
        letters = "N, " if batched else ""
        self._expect_state(h, c, axes, letters, lambda: self._words(input, h, c))
        if reset is not None:
            reset = flags_of(reset, "reset", axes, "(N,)").unsqueeze(1)
        x: Any = input
        if not batched:
            x, h, c = (None if part is None else part.unsqueeze(0) for part in (x, h, c))
        _, h_new, c_new = self._run(x, h, c, weights, seed, (None, reset, None), cell=True)
        if not batched:
            h_new, c_new = h_new.squeeze(0), c_new.squeeze(0)
        return h_new, c_new

"""`LSTMCell`, a drop-in replacement of torch.nn.LSTMCell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.fx import Proxy

from lstmcore._signatures import shows_options
from lstmcore._typing import ArrayLike
from lstmcore.config import LSTMConfig, StepOptions, config_parameters
from lstmcore.torch import steps
from lstmcore.torch.plan import STEP_OPTIONS, Plan, check_options, options_repr
from lstmcore.torch.recurrent import Recurrent, flag_of, pair_of, shape_of
from lstmcore.torch.tensors import expect_tensor, flags_of

if TYPE_CHECKING:
    from typing_extensions import Unpack


@shows_options(config_parameters(STEP_OPTIONS), LSTMConfig)
class LSTMCell(Recurrent):
    """`torch.nn.LSTMCell` on lstmcore's engine, for float32 and float64 on the CPU.

    The same arguments, parameters, names in the state dict, initial values and results. An `LSTM`
    processes a whole sequence many times as fast as a loop over a cell. If each input depends on
    the output before it, see also `frozen`.

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

    _steps: steps.Packed | None = None

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
        super().__init__()
        check_options("LSTMCell", options, STEP_OPTIONS)
        config = LSTMConfig(
            input_size,
            hidden_size,
            bias=flag_of(bias, "bias"),
            proj_size=proj_size,
            **options,
        )
        self.input_size = config.input_size
        self.hidden_size = config.hidden_size
        self.bias = config.bias
        if config.proj_size:
            self.proj_size = config.proj_size
        self._make(config, None, device, dtype)
        if not self.bias:  # as in torch.nn.LSTMCell
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)

    def _set_names(self, plan: Plan) -> None:
        super()._set_names(plan)
        self._parameter_names = tuple(name.removesuffix("_l0") for name in plan.names)

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, for ``repr``."""
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += ", bias=False"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        return text + options_repr(self._options)

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
            If a shape or a value is wrong.
        """
        if reset is None and seed is None and (stepped := steps.step(self, input, hx)) is not None:
            return stepped
        self._refuse_tracing()
        if isinstance(input, Proxy):
            return self._as_node(input, hx, {"reset": reset, "seed": seed})  # type: ignore[no-any-return]
        h, c = pair_of(hx)
        expect_tensor(input, "input")
        batched = input.dim() == 2
        if input.dim() not in (1, 2) or input.size(-1) != self.input_size:
            raise ValueError(
                f"input: expected (N, C={self.input_size}) or (C={self.input_size},), "
                f"got {shape_of(input)}"
            )
        if not batched:
            input = input.unsqueeze(0)
            if reset is not None:
                raise ValueError("reset: expected None alongside an unbatched input; pass no state")
        batch = input.size(0)
        if batched:
            self._expect_state(h, c, (batch,), "N, ")
        else:
            self._expect_state(h, c, (), "")
            h, c = (None if part is None else part.unsqueeze(0) for part in (h, c))
        if reset is not None:
            reset = flags_of(reset, "reset", (batch,), "(N,)").unsqueeze(1)
        _, h_new, c_new = self._run(input, h, c, seed, (None, reset, None), cell=True)
        if not batched:
            h_new, c_new = h_new.squeeze(0), c_new.squeeze(0)
        return h_new, c_new

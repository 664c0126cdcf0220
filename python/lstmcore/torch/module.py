"""`LSTM`, a drop-in replacement of torch.nn.LSTM."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmcore._signatures import shows_options
from lstmcore._typing import ArrayLike, Recompute
from lstmcore.config import LSTMConfig, WalkOptions, config_parameters
from lstmcore.torch.plan import OF_TORCH, OPTIONS, Plan, check_options, options_repr
from lstmcore.torch.recurrent import (
    Recurrent,
    collects_samples,
    device_of,
    dtype_of,
    flag_of,
    pair_of,
    shape_of,
)
from lstmcore.torch.tensors import (
    InputError,
    expect_tensor,
    flags_of,
    lengths_of,
    pytorchs_words,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


@shows_options(config_parameters(OPTIONS), LSTMConfig)
class LSTM(Recurrent, torch.nn.LSTM):
    """`torch.nn.LSTM` on lstmcore's engine, for float32 and float64 on the CPU.

    A subclass with the same arguments, parameters, names in the state dict, initial values for a
    seed of ``torch.manual_seed``, inputs (batched, unbatched, `PackedSequence`) and results. As
    there, time comes first unless `batch_first`. Letters: N batch, T time steps, C input features,
    H hidden units, P = H or `proj_size`, D directions.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As for ``torch.nn.LSTM``.
    device : optional
        Device of the parameters. Calls need them on the CPU.
    dtype : torch.float32 or torch.float64, optional
        None: PyTorch's default.
    recompute : int or "sqrt", optional
        For the backward, store the state only once in this many steps, and recompute the steps
        between; see `functional.lstm`.
    **options
        Options of `LSTMConfig` that ``torch.nn.LSTM`` does not have.

    Raises
    ------
    TypeError
        If an argument is unknown or has the wrong type.
    ValueError
        If a value is wrong or options contradict each other.

    Notes
    -----
    Weights are read at every call, so every change takes effect; inside `frozen` you promise not to
    change them, and they are read once. Random masks follow ``torch.manual_seed``, but differ from
    those that torch.nn.LSTM would draw. Gradients may be differentiated once more. A backward uses
    up the tape of the forward, so a second one through the same graph (``retain_graph=True``) runs
    the forward again.
    """

    _of_torch = torch.nn.LSTM
    _flat_weights: list[Any]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        recompute: Recompute = None,
        **options: Unpack[WalkOptions],
    ) -> None:
        check_options("LSTM", options, OPTIONS, OF_TORCH)
        if not isinstance(batch_first, bool):
            raise TypeError(f"batch_first: expected True or False, got {batch_first!r}")
        config = LSTMConfig(
            input_size,
            hidden_size,
            num_layers,
            flag_of(bidirectional, "bidirectional"),
            dropout=dropout,
            bias=bias,
            proj_size=proj_size,
            **options,
        )
        plan = Plan(config, recompute)
        ready = plan.has_parameters_of_torch()
        super().__init__(
            config.input_size,
            config.hidden_size,
            config.num_layers,
            config.bias,
            batch_first,
            config.dropout,
            config.bidirectional,
            config.proj_size if ready else 0,
            device_of(device) if ready else "meta",
            dtype_of(dtype),
        )
        self._set_options(plan, recompute)
        if not ready:
            self.proj_size = config.proj_size
            self._make_parameters(plan, plan.names, device_of(device), dtype_of(dtype))
            self._flat_weights_names = list(plan.names)
            cells: dict[str, list[str]] = {}
            for name in plan.names:
                cells.setdefault(name[name.rindex("_l") :], []).append(name)
            self._all_weights = list(cells.values())
            self._init_flat_weights()
            self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Lay parameters on a GPU out as cuDNN needs them, which has only torch.nn's options."""
        if not self._beyond_torch():
            super().flatten_parameters()

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, for ``repr``."""
        return str(super().extra_repr()) + options_repr(self._options)

    def _beyond_torch(self) -> str:
        wide = f" proj_size {self.proj_size}" if self.proj_size >= self.hidden_size else ""
        return (self._options + wide).strip()

    def _weights(self) -> list[Any]:
        """Return the tensors that PyTorch's own forward would compute with.

        These are `_flat_weights`, which follow the attributes: parameters, or what hooks,
        parametrizations and ``functional_call`` put in their places.
        """
        names = self._flat_weights_names
        if torch.compiler.is_compiling():
            return [getattr(self, name) for name in names]
        parameters, weights = self._parameters, self._flat_weights
        if all(parameters.get(name) is weight for name, weight in zip(names, weights, strict=True)):
            return weights
        if parametrize.is_parametrized(self):  # each access computes the weight anew
            weights = self._flat_weights = [getattr(self, name) for name in names]
            return weights
        self._update_flat_weights()
        return self._flat_weights

    def _attributes(self) -> dict[str, Any]:
        state: dict[str, Any] = torch.nn.LSTM.__getstate__(self)
        # Results of operations, which PyTorch does not copy; `__setstate__` computes them again.
        state["_flat_weights"] = [
            weight if weight is None or weight.is_leaf else None for weight in self._flat_weights
        ]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if any(weight is None for weight in self._flat_weights):
            self._init_flat_weights()

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: tuple[Tensor | None, Tensor | None] | None = None,
        *,
        lengths: Tensor | ArrayLike | None = None,
        reset: Tensor | ArrayLike | None = None,
        mask: Tensor | ArrayLike | None = None,
        return_sequences: bool = True,
        seed: int | None = None,
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Run the LSTM.

        Parameters
        ----------
        input : Tensor, shape (T, N, C), with `batch_first` (N, T, C), or (T, C); or PackedSequence
            With the weights' dtype. N = 0 and T = 0 are allowed.
        hx : pair (h_0, c_0), optional
            Initial state, (layers * D, N, P) and (layers * D, N, H), without N if the input is
            unbatched. None stands for zeros, for the pair or for either part.
        lengths : integers, shape (N,), optional
            Valid steps of each row, 0 to T, in any order. The output is zero past them, and the
            final state is the one after the last of them, as with a `PackedSequence`.
        reset : bool, shape of input without C, optional
            True where a new sequence starts; see `functional.lstm`.
        mask : bool, shape of input without C, optional
            True for valid steps. Not together with `lengths`.
        return_sequences : bool, default True
            If false, the output is the last layer's h after the last valid step, (N, D * P).
        seed : int, optional
            Seed of all random masks of this call, 0 to 2**63 - 1; None: drawn from PyTorch's
            generator.

        Returns
        -------
        output : Tensor, shape (T, N, D * P), with `batch_first` (N, T, D * P), or (T, D * P)
            Output of the last layer; a PackedSequence if the input is one.
        (h_n, c_n) : pair of Tensor
            Final state, in the shapes of `hx`.

        Raises
        ------
        TypeError
            If a tensor has another dtype than the weights, is not on the CPU or not dense.
        ValueError
            If a shape or a value is wrong. Both are RuntimeErrors, too, as PyTorch's errors are.
        """
        if not torch.compiler.is_compiling() and _compiler() is not None:
            # Called by a compiled function that has no LSTMs in its graph.
            steps = {"lengths": lengths, "reset": reset, "mask": mask, "seed": seed}
            return _undisturbed()(self, input, hx, **steps, return_sequences=return_sequences)  # type: ignore[no-any-return]
        self._refuse_tracing()
        if isinstance(input, Proxy):
            options = {"lengths": lengths, "reset": reset, "mask": mask, "seed": seed}
            options["return_sequences"] = None if return_sequences is True else return_sequences
            return self._as_node(input, hx, options)  # type: ignore[no-any-return]
        weights = self._weights()
        if not torch.compiler.is_compiling() and collects_samples(weights):
            whole = None if return_sequences else False
            return self._collect_samples(input, hx, (lengths, reset, mask, seed, whole))
        h, c = pair_of(hx)
        if isinstance(input, PackedSequence):
            _refuse_steps(lengths, reset, mask)
            return self._packed(input, h, c, weights, return_sequences, seed)
        expect_tensor(input, "input")
        if input.dim() not in (2, 3):
            raise InputError(
                f"input: expected {self._input_shape()} or (T, C), got {shape_of(input)}"
                + self._words(input, None, None)
            )
        batched = input.dim() == 3
        batch_axis = 0 if self.batch_first else 1
        if not batched:
            if lengths is not None:
                raise InputError("lengths: expected None with one sequence; pass input[:length]")
            reset, mask = _batched_flags(reset, mask, input.size(0), batch_axis)
            h, c = self._batched_state(h, c, input)
            input = input.unsqueeze(batch_axis)
        if input.size(-1) != self.input_size:
            raise InputError(
                f"input: expected {self._input_shape()} with C={self.input_size}, since "
                f"batch_first={self.batch_first}, got {shape_of(input)}"
                + self._words(input, None, None)
            )
        batch, times = input.size(batch_axis), input.size(1 - batch_axis)
        self._check_state(h, c, batch, times, lambda: self._words(input, h, c))
        if lengths is not None:
            lengths = lengths_of(lengths, batch, self.batch_first, times)
        letters = "(N, T)" if self.batch_first else "(T, N)"
        flags: list[Any] = []
        for value, name in ((reset, "reset"), (mask, "mask")):
            if value is not None:
                value = flags_of(value, name, tuple(input.shape[:2]), letters)
                value = value if self.batch_first else value.transpose(0, 1)
            flags.append(value)
        output, h_n, c_n = self._run(
            input,
            h,
            c,
            weights,
            seed,
            (lengths, flags[0], flags[1]),
            time_major=not self.batch_first,
            sequences=return_sequences,
        )
        if not return_sequences:
            output = self._last(h_n)
        if not batched:
            output = output.squeeze(batch_axis if return_sequences else 0)
            h_n, c_n = h_n.squeeze(1), c_n.squeeze(1)
        return output, (h_n, c_n)

    def _last(self, h: Any) -> Any:
        return torch.cat([h[-2], h[-1]], -1) if self.bidirectional else h[-1]

    def _packed(
        self, packed: Any, h: Any, c: Any, weights: Any, return_sequences: bool, seed: Any
    ) -> tuple[Any, tuple[Any, Any]]:
        """Run a PackedSequence: its rows are sorted by length, those of the states are not."""
        data, batch_sizes, order, back = packed
        if data.dim() != 2 or data.size(1) != self.input_size:
            raise InputError(
                f"input.data: expected (steps, C={self.input_size}), got {shape_of(data)}"
                + pytorchs_words(self.check_input, data, batch_sizes)
            )
        padded, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes))
        self._check_state(
            h,
            c,
            padded.size(1),
            padded.size(0),
            lambda: pytorchs_words(self.check_forward_args, data, (h, c), batch_sizes),
        )
        if order is not None:
            h, c = (None if part is None else part.index_select(1, order) for part in (h, c))
        output, h_n, c_n = self._run(
            padded,
            h,
            c,
            weights,
            seed,
            (lengths, None, None),
            time_major=True,
            sequences=return_sequences,
        )
        if back is not None:
            h_n, c_n = h_n.index_select(1, back), c_n.index_select(1, back)
        if not return_sequences:
            return self._last(h_n), (h_n, c_n)
        again = pack_padded_sequence(output, lengths)
        return PackedSequence(again.data, batch_sizes, order, back), (h_n, c_n)

    def _input_shape(self) -> str:
        return "(N, T, C)" if self.batch_first else "(T, N, C)"

    def _check_state(
        self, h: Any, c: Any, batch: int, times: int, words: Callable[[], str]
    ) -> None:
        cells = self.num_layers * (2 if self.bidirectional else 1)

        def hint(shape: tuple[int, ...]) -> str:
            if len(shape) != 3:
                return ""
            if shape[:2] == (batch, cells) != (cells, batch):
                return "; a state has N in the middle, with batch_first too"
            if shape[1] == times != batch:
                return (
                    f"; with batch_first={self.batch_first} the input is {batch} sequences of "
                    f"{times} steps"
                )
            return ""

        self._expect_state(h, c, (cells, batch), "layers * D, N, ", words, hint)

    def _words_of_dtype(self, x: Any) -> str:
        return pytorchs_words(self.check_input, x, None)

    def _batched_state(self, h: Any, c: Any, input: Any) -> tuple[Any, Any]:
        """Return the state of one sequence as that of a batch."""
        for part, name in ((h, "hx[0]"), (c, "hx[1]")):
            if part is None:
                continue
            expect_tensor(part, name)
            if part.dim() != 2:
                raise InputError(
                    f"{name}: expected (layers * D, H) with an unbatched input (T, C), got "
                    f"{shape_of(part)}{self._words(input, h, c)}"
                )
        first, second = (None if part is None else part.unsqueeze(1) for part in (h, c))
        return first, second


# Returns what torch.compile compiles frames with as they run, None outside of compiled functions.
_compiler: Callable[[], Any] = getattr(
    torch._C._dynamo.eval_frame, "get_eval_frame_callback", lambda: None
)


@functools.cache
def _undisturbed() -> Callable[..., Any]:
    """Return `LSTM.forward` in a form whose inner functions are not compiled one by one."""
    return torch.compiler.disable(LSTM.forward)  # type: ignore[no-any-return]


def _refuse_steps(lengths: Any, reset: Any, mask: Any) -> None:
    """Raise InputError if one of the arguments is not None."""
    if not (lengths is None and reset is None and mask is None):
        raise InputError(
            "lengths, reset, mask: expected none alongside a PackedSequence, which has lengths; "
            "pass the padded tensor with lengths=... instead"
        )


def _batched_flags(reset: Any, mask: Any, steps: int, batch_axis: int) -> tuple[Any, Any]:
    """Return the flags of one sequence as those of a batch."""
    first, second = (
        None if value is None else flags_of(value, name, (steps,), "(T,)").unsqueeze(batch_axis)
        for value, name in ((reset, "reset"), (mask, "mask"))
    )
    return first, second

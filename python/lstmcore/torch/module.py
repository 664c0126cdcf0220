"""`LSTM`, a drop-in replacement of torch.nn.LSTM."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmcore._signatures import shows_options
from lstmcore._typing import ArrayLike, Recompute
from lstmcore.config import LSTMConfig, WalkOptions, config_parameters
from lstmcore.torch.plan import OF_TORCH, OPTIONS, check_options, options_repr
from lstmcore.torch.recurrent import Recurrent, flag_of, pair_of, shape_of
from lstmcore.torch.tensors import expect_tensor, flags_of, lengths_of

if TYPE_CHECKING:
    from typing_extensions import Unpack


@shows_options(config_parameters(OPTIONS), LSTMConfig)
class LSTM(Recurrent):
    """`torch.nn.LSTM` on lstmcore's engine, for float32 and float64 on the CPU.

    The same arguments, parameters, names in the state dict, initial values for a seed of
    ``torch.manual_seed``, inputs (batched, unbatched, `PackedSequence`) and results. As there, time
    comes first unless `batch_first`. Letters: N batch, T time steps, C input features, H hidden
    units, P = H or `proj_size`, D directions.

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

    mode = "LSTM"

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
        super().__init__()
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
        if config.dropout > 0 and config.num_layers == 1:
            warnings.warn(
                f"dropout: acts between layers, and there is one; {config.dropout} does nothing",
                stacklevel=2,
            )
        for name in OF_TORCH:
            setattr(self, name, getattr(config, name))
        self.batch_first = batch_first
        self._make(config, recompute, device, dtype)

    @property
    def all_weights(self) -> list[list[torch.nn.Parameter]]:
        """The parameters of each layer and direction, as in torch.nn."""
        cells: dict[str, list[Any]] = {}
        for name in self._parameter_names:
            cells.setdefault(name[name.rindex("_l") :], []).append(getattr(self, name))
        return list(cells.values())

    def flatten_parameters(self) -> None:
        """Do nothing, since parameters may lie anywhere in memory here."""

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, for ``repr``."""
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        )
        for name, default in defaults:
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text + options_repr(self._options)

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
            If a shape or a value is wrong.
        """
        self._refuse_tracing()
        if isinstance(input, Proxy):
            options = {"lengths": lengths, "reset": reset, "mask": mask, "seed": seed}
            options["return_sequences"] = None if return_sequences is True else return_sequences
            return self._as_node(input, hx, options)  # type: ignore[no-any-return]
        h, c = pair_of(hx)
        if isinstance(input, PackedSequence):
            _refuse_steps(lengths, reset, mask)
            return self._packed(input, h, c, return_sequences, seed)
        expect_tensor(input, "input")
        if input.dim() not in (2, 3):
            raise ValueError(
                f"input: expected {self._input_shape()} or (T, C), got {shape_of(input)}"
            )
        batched = input.dim() == 3
        batch_axis = 0 if self.batch_first else 1
        if not batched:
            if lengths is not None:
                raise ValueError("lengths: expected None with one sequence; pass input[:length]")
            reset, mask = _batched_flags(reset, mask, input.size(0), batch_axis)
            input = input.unsqueeze(batch_axis)
            h, c = _batched_state(h, "hx[0]"), _batched_state(c, "hx[1]")
        if input.size(-1) != self.input_size:
            raise ValueError(
                f"input: expected {self._input_shape()} with C={self.input_size}, since "
                f"batch_first={self.batch_first}, got {shape_of(input)}"
            )
        batch, times = input.size(batch_axis), input.size(1 - batch_axis)
        self._check_state(h, c, batch, times)
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
        self, packed: Any, h: Any, c: Any, return_sequences: bool, seed: Any
    ) -> tuple[Any, tuple[Any, Any]]:
        """Run a PackedSequence: its rows are sorted by length, those of the states are not."""
        data, batch_sizes, order, back = packed
        if data.dim() != 2 or data.size(1) != self.input_size:
            raise ValueError(
                f"input.data: expected (steps, C={self.input_size}), got {shape_of(data)}"
            )
        padded, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes))
        self._check_state(h, c, padded.size(1), padded.size(0))
        if order is not None:
            h, c = (None if part is None else part.index_select(1, order) for part in (h, c))
        output, h_n, c_n = self._run(
            padded, h, c, seed, (lengths, None, None), time_major=True, sequences=return_sequences
        )
        if back is not None:
            h_n, c_n = h_n.index_select(1, back), c_n.index_select(1, back)
        if not return_sequences:
            return self._last(h_n), (h_n, c_n)
        again = pack_padded_sequence(output, lengths)
        return PackedSequence(again.data, batch_sizes, order, back), (h_n, c_n)

    def _input_shape(self) -> str:
        return "(N, T, C)" if self.batch_first else "(T, N, C)"

    def _check_state(self, h: Any, c: Any, batch: int, times: int) -> None:
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

        self._expect_state(h, c, (cells, batch), "layers * D, N, ", hint)


def _refuse_steps(lengths: Any, reset: Any, mask: Any) -> None:
    """Raise ValueError if one of the arguments is not None."""
    if not (lengths is None and reset is None and mask is None):
        raise ValueError(
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


def _batched_state(part: Any, name: str) -> Any:
    """Return h or c of one sequence as that of a batch."""
    if part is None:
        return None
    expect_tensor(part, name)
    if part.dim() != 2:
        raise ValueError(
            f"{name}: expected (layers * D, H) with an unbatched input (T, C), got {shape_of(part)}"
        )
    return part.unsqueeze(1)

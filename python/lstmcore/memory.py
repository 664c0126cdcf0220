"""How much memory a call takes, before it is made."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core
from lstmcore.config import LSTMConfig
from lstmcore.functional import recompute_steps

__all__ = ["memory_needed", "tape_bytes"]

_VECTOR_BYTES = {"avx512": 64, "avx2": 32, "baseline": 16}


class _Sizes:
    """Widths in elements, the hidden ones rounded up to whole vectors."""

    def __init__(self, config: LSTMConfig, isa: str, itemsize: int) -> None:
        lanes = _VECTOR_BYTES[isa] // itemsize
        self.config = config
        self.hidden = -(-config.hidden_size // lanes) * lanes  # Hp
        self.state = config.state_size
        self.padded_state = -(-self.state // lanes) * lanes
        self.directions = config.num_directions
        self.cells = config.num_layers * self.directions

    def inputs(self, layer: int) -> int:
        return self.config.input_size if layer == 0 else self.config.output_size

    def weights(self, layer: int) -> int:
        """Elements of the packed weights of a layer's cell, but for its vectors."""
        projection = self.config.hidden_size * self.padded_state if self.config.proj_size else 0
        return 4 * self.hidden * (self.inputs(layer) + self.state) + projection


class _Pieces:
    """What a tape keeps, and what of that is there for one piece of the steps at a time."""

    def __init__(
        self, config: LSTMConfig, batch: int, total: int, steps: int, recompute: int | str | None
    ) -> None:
        every = recompute_steps(recompute)
        if every < 0:
            every = math.ceil(math.sqrt(steps))
        self.count = -(-steps // every) if every else 1
        several = self.count > 1
        self.states = self.count + 1 if several else 1
        self.own_rows = min(batch * every, total) if several else total
        whole = config.bidirectional or config.go_backwards
        self.shared_rows = total if whole else self.own_rows


def tape_bytes(
    config: LSTMConfig,
    batch_size: int,
    total_steps: int,
    isa: str,
    itemsize: int,
    steps: int | None = None,
    recompute: int | str | None = None,
) -> int:
    """Return the bytes that the tape of a training forward keeps.

    Per layer and direction, for S valid steps of all rows, S (4 Hp + Hp) elements of gates and c,
    and N (P + Hp) of initial state; per layer S D P of h; once S C of x; with dropout between
    layers S D P per border. Per layer and direction also, with recurrent dropout, S P + N (2 P),
    with a projection S H, with layer norms S (8 Hp + 6) + N Hp, and with dropout of the recurrent
    weights the packed weights once more.

    With recomputation in pieces of k steps, of which there are K, S is N k instead, but for x, and
    there are K + 1 states; the backward fills the rest piece by piece. What layers of a
    bidirectional or reversed LSTM pass to each other stays whole.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    batch_size, total_steps : int
        N and S.
    isa : str
        Instruction set, which says how wide a vector is.
    itemsize : int
        Bytes of an element.
    steps : int, optional
        T; S / N by default.
    recompute : int or "sqrt", optional
        As in `functional.lstm`.
    """
    sizes = _Sizes(config, isa, itemsize)
    if steps is None:
        steps = total_steps // max(batch_size, 1)
    pieces = _Pieces(config, batch_size, total_steps, steps, recompute)
    of_row = 5 * sizes.hidden
    of_cell = pieces.states * batch_size * (sizes.state + sizes.hidden)
    if config.recurrent_dropout:
        of_row += sizes.state
        of_cell += batch_size * (sizes.state + sizes.padded_state)
    if config.proj_size:
        of_row += config.hidden_size
    if config.layer_norm:
        of_row += 8 * sizes.hidden + 6
        of_cell += batch_size * sizes.hidden
    of_cell += pieces.own_rows * of_row
    elements = sizes.cells * of_cell + total_steps * config.input_size
    elements += config.num_layers * pieces.shared_rows * config.output_size
    if config.dropout:
        elements += (config.num_layers - 1) * pieces.shared_rows * config.output_size
    if config.weight_dropout:
        elements += sizes.directions * sum(map(sizes.weights, range(config.num_layers)))
    return elements * itemsize


def _backward_bytes(sizes: _Sizes, batch: int, pieces: _Pieces, threads: int, itemsize: int) -> int:
    """Bytes that the backward of a layer adds beside the tape and the results.

    Per direction 4 Hp for each row of a range of steps, and per thread a copy of some of that; with
    groups of rows, a range for each thread, and the sums of the groups beyond the first. A stack
    also keeps the gradients between two layers.
    """
    config = sizes.config
    inputs = max(sizes.inputs(layer) for layer in range(config.num_layers))
    weights = 4 * sizes.hidden * (inputs + sizes.state)
    groups = max(n for n in (1, 2, 4) if n == 1 or (8 * n <= batch and n * weights <= 2**18))
    sets = threads if sizes.directions == 1 and groups % threads == 0 else 1
    rows_of_set = max(batch // sets, 1)
    width = (14 if config.layer_norm else 4) * sizes.hidden
    rows = max(
        160 if config.layer_norm else 384, 2**20 // ((width + 2 * sizes.hidden + inputs) * itemsize)
    )
    rows = min(max(rows // rows_of_set, 1) * rows_of_set * sets, pieces.own_rows)
    panels = min(384 * 4 * sizes.hidden * itemsize, 384 * 2**10)
    width += sizes.padded_state if config.proj_size else 0
    elements = sizes.directions * (rows * width + (groups - 1) * weights)
    elements += min(config.num_layers - 1, 2) * pieces.shared_rows * config.output_size
    return elements * itemsize + threads * panels


def memory_needed(
    config: LSTMConfig,
    batch_size: int,
    steps: int,
    *,
    training: bool = True,
    total_steps: int | None = None,
    dtype: npt.DTypeLike = "float32",
    isa: str | None = None,
    num_threads: int | None = None,
    recompute: int | str | None = None,
) -> int:
    """Return about how many bytes a call takes at its peak, beside its arguments.

    With `training` those of `functional.lstm` followed by `functional.lstm_backward` with all
    gradients; without, those of `functional.lstm` with weights that are not packed yet. The
    benchmark finds the formula within a tenth of what the system reports, once calls are large
    enough to matter.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    batch_size, steps : int
        N and T.
    training : bool, default True
        Whether a tape is kept and gone back through.
    total_steps : int, optional
        Sum of the lengths; N T if there are none.
    dtype : dtype, default "float32"
        ``float32`` or ``float64``.
    isa : str, optional
        Instruction set; the one in use by default.
    num_threads : int, optional
        Threads; those in use by default.
    recompute : int or "sqrt", optional
        As in `functional.lstm`; only with `training`.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a number is negative, or `dtype` or `isa` is unknown.
    """
    _checks.instance(config, LSTMConfig, "config", "an LSTMConfig")
    batch = _checks.integer(batch_size, "batch_size", 0)
    length = _checks.integer(steps, "steps", 0)
    valid = batch * length
    if total_steps is not None:
        valid = _checks.integer(total_steps, "total_steps", 0)
        if valid > batch * length:
            raise ValueError(f"total_steps: expected at most N T, {batch * length}, got {valid}")
    try:
        element = np.dtype(dtype)
    except TypeError:
        element = np.dtype(object)
    if element not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
    name = _checks.choice(_core.isa() if isa is None else isa, "isa", tuple(_VECTOR_BYTES))
    threads = _core.get_num_threads()
    if num_threads is not None:
        threads = _checks.integer(num_threads, "num_threads", 1)

    if recompute_steps(recompute) and not training:
        raise ValueError(f"recompute: expected None without training, got {recompute!r}")
    sizes = _Sizes(config, name, element.itemsize)
    layers = range(config.num_layers)
    packed = sizes.directions * sum(map(sizes.weights, layers))
    y = batch * length * config.output_size
    states = sizes.cells * batch * (sizes.state + config.hidden_size)
    if not training:
        between = valid * config.output_size * min(config.num_layers - 1, 2)
        scratch = sizes.directions * batch * (2 * sizes.state + 2 * sizes.hidden)
        return int((packed + y + states + between + scratch) * element.itemsize)
    # Packed for the forward, for the backward, as sums; and the gradients themselves.
    gradients = sum(
        int(np.prod(shape, dtype=np.int64)) for shape in config.parameter_shapes().values()
    )
    elements = 3 * packed + gradients + y + batch * length * config.input_size + 2 * states
    tape = tape_bytes(config, batch, valid, name, element.itemsize, length, recompute)
    pieces = _Pieces(config, batch, valid, length, recompute)
    backward = _backward_bytes(sizes, batch, pieces, threads, element.itemsize)
    return int(elements * element.itemsize + tape + backward)

"""How much memory a call takes, before it is made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core
from lstmcore.config import LSTMConfig, core_config
from lstmcore.functional import recompute_steps

__all__ = ["memory_needed", "tape_bytes"]


def tape_bytes(
    config: LSTMConfig,
    batch_size: int,
    total_steps: int,
    isa: str,
    itemsize: int,
    steps: int | None = None,
    recompute: int | str | None = None,
) -> int:
    """Return the bytes that the tape of a training forward holds.

    For each of the S valid steps, the tape holds the gates and c of each layer and direction, h of
    each layer, and x. With recomputation, S is that of the longest segment, except for x, and the
    states between segments are added. Data that layers of a bidirectional or reversed LSTM pass to
    each other is held for all steps.

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
    if steps is None:
        steps = total_steps // max(batch_size, 1)
    every = recompute_steps(recompute)
    return _count(config, itemsize, batch_size, steps, total_steps, every, isa, 1)["tape"]


def _count(
    config: LSTMConfig,
    itemsize: int,
    batch: int,
    steps: int,
    total_steps: int,
    recompute: int,
    isa: str,
    threads: int,
) -> dict[str, int]:
    """Return the bytes of the engine: weights, inference, tape, backward."""
    width = _core.vector_bytes(isa)
    return _core.memory(
        core_config(config), itemsize == 8, batch, steps, total_steps, recompute, width, threads
    )


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
    """Return about how many bytes a call takes at its peak, besides its arguments.

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
        Whether the call stores a tape and runs a backward.
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
    name = _checks.choice(_core.isa() if isa is None else isa, "isa", tuple(_core.known_isas()))
    threads = _core.get_num_threads()
    if num_threads is not None:
        threads = _checks.integer(num_threads, "num_threads", 1)

    every = recompute_steps(recompute)
    if every and not training:
        raise ValueError(f"recompute: expected None without training, got {recompute!r}")
    held = _count(config, element.itemsize, batch, length, valid, every, name, threads)
    cells = config.num_layers * config.num_directions
    states = cells * batch * (config.state_size + config.hidden_size)
    results = batch * length * config.output_size + states
    if not training:
        return held["weights"] + held["inference"] + results * element.itemsize
    # The gradients of x, of the initial states and of the weights.
    results += batch * length * config.input_size + states
    results += sum(
        int(np.prod(shape, dtype=np.int64)) for shape in config.parameter_shapes().values()
    )
    return held["weights"] + held["tape"] + held["backward"] + results * element.itemsize

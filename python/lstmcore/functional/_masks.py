"""The random masks of dropout and zoneout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core
from lstmcore.config import LSTMConfig


def lstm_masks(
    config: LSTMConfig, batch_size: int, steps: int, seed: int = 0
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the random masks of a training forward.

    They depend on the arguments only: not on threads, lengths, dtype or instruction set.

    Parameters
    ----------
    config : LSTMConfig
        Sizes and options.
    batch_size, steps : int
        N and T of the forward.
    seed : int, default 0
        Of the forward.

    Returns
    -------
    dict of str to ndarray
        An entry for every option in use. Factors, 0 where an element is dropped, else 1 / (1 -
        rate): ``dropout`` (layers - 1, N, T, D * H), ``input_dropout`` (N, C),
        ``recurrent_dropout`` (layers * D, N, H), ``weight_dropout`` (layers * D, 4H, H or P). One
        where an element keeps the value that it had before the step, else 0: ``zoneout_h`` and
        ``zoneout_c`` (layers * D, N, T, H), with t the time in the sequence, in both directions.
    """
    _checks.instance(config, LSTMConfig, "config", "an LSTMConfig")
    batch = _checks.integer(batch_size, "batch_size", 0)
    times = _checks.integer(steps, "steps", 0)
    cells = config.num_layers * config.num_directions

    _core.mask_seed(seed, "zoneout_h", 0)  # refuses anything but a seed

    def draw(shape: tuple[int, ...], rate: float, kind: str, cell: int = 0) -> Any:
        if rate == 1.0:  # a zoneout too small to differ from none
            return np.zeros(shape)
        stream = _core.mask_seed(seed, kind, cell) if kind else seed
        return _core.dropout(np.ones(shape), rate, stream)

    masks: dict[str, npt.NDArray[np.float64]] = {}
    hidden, width = config.hidden_size, config.output_size
    if config.dropout and config.num_layers > 1:
        masks["dropout"] = draw((config.num_layers - 1, batch, times, width), config.dropout, "")
    if config.input_dropout:
        shape = (batch, config.input_size)
        masks["input_dropout"] = draw(shape, config.input_dropout, "input_dropout")
    for kind, rate, rows in (
        ("recurrent_dropout", config.recurrent_dropout, batch),
        ("weight_dropout", config.weight_dropout, 4 * hidden),
    ):
        if rate:
            shape = (rows, config.state_size)
            every = [draw(shape, rate, kind, cell) for cell in range(cells)]
            masks[kind] = np.stack(every)
    for kind, rate, features in (
        ("zoneout_h", config.zoneout_h, config.state_size),
        ("zoneout_c", config.zoneout_c, hidden),
    ):
        if rate:
            kept = [draw((times, batch, features), 1.0 - rate, kind, n) != 0 for n in range(cells)]
            masks[kind] = np.stack(kept).swapaxes(1, 2).astype(np.float64)
    return masks

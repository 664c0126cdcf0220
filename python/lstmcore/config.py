"""Sizes and options of an LSTM."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from lstmcore import _core

MAX_LAYERS = 4096
"""Far beyond any use; a greater number is a mistake, which would fill the memory with names."""


@dataclass(frozen=True)
class LSTMConfig:
    """Sizes and options of an LSTM; checked when made, never changed.

    Parameters
    ----------
    input_size : int
        Features of the input, C.
    hidden_size : int
        Hidden units of each layer and direction, H.
    num_layers : int, default 1
        Layers on top of each other, at most 4096.
    bidirectional : bool, default False
        A second LSTM walks each sequence from its own end, D = 2. Outputs stand side by side.
    go_backwards : bool, default False
        The only direction walks each sequence from its end. The output stays in the input's order.
    dropout : float, default 0.0
        Share of the output of every layer but the last that is dropped while training, in [0, 1).

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a size is below 1 or too large, ``dropout`` is outside [0, 1), or options contradict
        each other.
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    go_backwards: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        core = _core.LstmConfig(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            self.bidirectional,
            self.go_backwards,
            self.dropout,
        )
        # Plain Python numbers, whatever number types came.
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, getattr(core, name))
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of the output, D * H."""
        return self.num_directions * self.hidden_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order.

        Returns
        -------
        dict
            ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H) and ``bias_l0`` (4H,) of every layer
            and, with suffix ``_reverse``, of every second direction. Rows are the gates i, f, g, o.
        """
        return dict(core_config(self).parameters())


@functools.lru_cache(maxsize=256)
def core_config(config: LSTMConfig) -> _core.LstmConfig:
    """Return the engine's form of `config`."""
    return _core.LstmConfig(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        config.bidirectional,
        config.go_backwards,
        config.dropout,
    )

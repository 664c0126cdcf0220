"""Sizes and options of an LSTM."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict, get_type_hints

from lstmcore import _checks, _core
from lstmcore._configurable import one_line
from lstmcore._typing import CellActivation, choices

MAX_LAYERS = 4096
"""Far more than any use needs: a greater number is a mistake, and would fill memory with names."""


class Activation(NamedTuple):
    """An activation function of an LSTM's gates, cell or output, with its parameters.

    Attributes
    ----------
    name : str
        ``sigmoid``, ``tanh``, ``relu``, ``leaky_relu`` (alpha x below 0), ``elu`` (alpha (exp(x) -
        1) below 0), ``hard_sigmoid`` (alpha x + beta between 0 and 1), ``softsign``, ``softplus``,
        ``affine`` (alpha x + beta), ``scaled_tanh`` (alpha tanh(beta x)), ``thresholded_relu`` (0
        up to alpha), ``linear``, or the cheaper approximations ``fast_sigmoid`` (error at most
        1e-5) and ``fast_tanh`` (at most 2e-5).
    alpha, beta : float, optional
        None, or a name alone, means ONNX's defaults: 0.01 for ``leaky_relu``, 1 for ``elu``, 0.2
        and 0.5 for ``hard_sigmoid``, 1 and 0 for ``affine``, 1 and 1 for ``scaled_tanh``, 1 for
        ``thresholded_relu``.
    """

    name: CellActivation
    alpha: float | None = None
    beta: float | None = None

    def __repr__(self) -> str:
        return one_line(self)


class Option(NamedTuple):
    """What the engine's table of options says about a field of `LSTMConfig`.

    Attributes
    ----------
    name : str
        Of the field.
    kind : str
        ``int``, ``float``, ``bool`` or ``activation``.
    default : object
        An activation as a tuple (name, alpha, beta); a size that must be given has 0.
    layer_name : str or None
        What layers and model files call it; None: they do not have it as an option.
    onnx : str or None
        Attribute or input of ONNX's LSTM operator; ``""``: a node need not mention it; None: the
        operator lacks it.
    optional : bool
        Whether model files may lack it, because it came later.
    """

    name: str
    kind: str
    default: Any
    layer_name: str | None
    onnx: str | None
    optional: bool


OPTIONS = tuple(Option(*row) for row in _core.lstm_options())
"""All options, in the order of `LSTMConfig`'s fields."""

_ACTIVATIONS = tuple(option.name for option in OPTIONS if option.kind == "activation")


class CellOptions(TypedDict, total=False):
    """Keywords that `LSTMConfig`, layers and PyTorch modules share, for type checkers.

    A type checker cannot take them from the fields of `LSTMConfig`, so a test compares the two.
    """

    peephole: bool
    coupled_gates: bool
    gate_clip: float
    cell_clip: float
    output_clip: float
    zoneout_h: float
    zoneout_c: float
    recurrent_dropout: float
    input_dropout: float
    weight_dropout: float
    proj_clip: float
    layer_norm: bool
    layer_norm_epsilon: float


class StepOptions(CellOptions, total=False):
    """Keywords of `LSTMConfig` that PyTorch's LSTMCell does not have."""

    gate_activation: CellActivation | Activation
    cell_activation: CellActivation | Activation
    output_activation: CellActivation | Activation


class WalkOptions(StepOptions, total=False):
    """Keywords of `LSTMConfig` that PyTorch's LSTM does not have."""

    go_backwards: bool


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
        A second LSTM walks each sequence from its own end, D = 2. Their outputs are concatenated.
    go_backwards : bool, default False
        The only direction walks each sequence from its end. The output is in the input's order.
    dropout : float, default 0.0
        Share of the output of every layer but the last that is dropped while training, in [0, 1).
    bias : bool, default True
        Whether the gates have biases.
    peephole : bool, default False
        Diagonal weights ``peephole_l0`` (3H,) from c to the gates i, f and o, the last one from the
        new c (Gers & Schmidhuber 2000).
    coupled_gates : bool, default False
        i = 1 - f. The rows of i in all weights are not used, and their gradients are zero.
    gate_activation : str or Activation, default "sigmoid"
        Of i, f and o. See `Activation`.
    cell_activation, output_activation : str or Activation, default "tanh"
        Of g, and the one applied to c for h.
    gate_clip : float, default 0.0
        Bound, on both sides, of the input of the gates' and the cell's activations; 0: none.
        (ONNX's ``clip``, together with the same `output_clip`.)
    cell_clip : float, default 0.0
        Bound of c, on both sides; 0: none.
    output_clip : float, default 0.0
        Bound, on both sides, of the input of the output's activation, c or its norm; 0: none. c
        itself, as the next step sees it, is not bounded.
    zoneout_h, zoneout_c : float, default 0.0
        Probability that an element of h or c keeps its value at a step while training, in [0, 1);
        at inference the expectation (Krueger et al. 2016).
    recurrent_dropout : float, default 0.0
        Share of h that is dropped on its way to the next step's gates while training, the same for
        all steps of a row, in [0, 1) (Gal & Ghahramani 2016).
    input_dropout : float, default 0.0
        Share of x, the input of the first layer, that is dropped while training, the same for all
        steps of a row, in [0, 1).
    weight_dropout : float, default 0.0
        Share of the recurrent weights that is dropped while training, one mask per forward, in [0,
        1) (Merity et al. 2017).
    proj_size : int, default 0
        P: h becomes its product with ``weight_hr_l0`` (P, H), P features wide, at most H (Sak et
        al. 2014, as in PyTorch); 0: no projection.
    proj_clip : float, default 0.0
        Bound of the projected h, on both sides; 0: none.
    layer_norm : bool, default False
        Layer normalization (Ba et al. 2016) of the gates' two products, with x and with h, each
        over all 4H features, and of c on its way to h. Gains ``gain_ih_l0`` and ``gain_hh_l0``
        (4H,) and ``gain_c_l0`` (H,), bias ``bias_c_l0`` (H,) of the last; the gates' biases are
        those of the first two.
    layer_norm_epsilon : float, default 1e-5
        Added to the variance.

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
    bias: bool = field(default=True, kw_only=True)
    peephole: bool = field(default=False, kw_only=True)
    coupled_gates: bool = field(default=False, kw_only=True)
    gate_activation: CellActivation | Activation = field(default="sigmoid", kw_only=True)
    cell_activation: CellActivation | Activation = field(default="tanh", kw_only=True)
    output_activation: CellActivation | Activation = field(default="tanh", kw_only=True)
    gate_clip: float = field(default=0.0, kw_only=True)
    cell_clip: float = field(default=0.0, kw_only=True)
    output_clip: float = field(default=0.0, kw_only=True)
    zoneout_h: float = field(default=0.0, kw_only=True)
    zoneout_c: float = field(default=0.0, kw_only=True)
    recurrent_dropout: float = field(default=0.0, kw_only=True)
    input_dropout: float = field(default=0.0, kw_only=True)
    weight_dropout: float = field(default=0.0, kw_only=True)
    proj_size: int = field(default=0, kw_only=True)
    proj_clip: float = field(default=0.0, kw_only=True)
    layer_norm: bool = field(default=False, kw_only=True)
    layer_norm_epsilon: float = field(default=1e-5, kw_only=True)

    def __post_init__(self) -> None:
        for name in _ACTIVATIONS:
            if isinstance(value := getattr(self, name), str):
                _checks.choice(value, name, choices(CellActivation))
        core = _core.LstmConfig(**self._values())
        # The engine returns plain Python numbers, even for NumPy's.
        for name, value in core.values().items():
            object.__setattr__(self, name, Activation(*value) if name in _ACTIVATIONS else value)
        object.__setattr__(self, "_core", core)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """Features of h: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Features of the output, D * H, with a projection D * P."""
        return self.num_directions * self.state_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order.

        Returns
        -------
        dict
            ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H) and ``bias_l0`` (4H,) of every layer
            and, with suffix ``_reverse``, of every second direction. Rows are the gates i, f, g, o.
            With peepholes also ``peephole_l0`` (3H,), for the gates i, f, o; with a projection
            ``weight_hr_l0`` (P, H), and ``weight_hh_l0`` (4H, P); with layer norms ``gain_ih_l0``
            and ``gain_hh_l0`` (4H,), ``gain_c_l0`` and ``bias_c_l0`` (H,).
        """
        return dict(core_config(self).parameters())

    def __repr__(self) -> str:
        return one_line(self, {name: _shortest(getattr(self, name)) for name in _ACTIVATIONS})

    def __getstate__(self) -> dict[str, Any]:
        return self._values()

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _shortest(activation: Activation) -> str | Activation:
    """Return the name alone if the parameters are the usual ones of that name."""
    usual = _core.lstm_activation(activation.name)
    return activation.name if usual == tuple(activation) else activation


def core_config(config: LSTMConfig) -> _core.LstmConfig:
    """Return the engine's form of `config`, which is made once and stored with it."""
    core: _core.LstmConfig | None = config.__dict__.get("_core")
    if core is None:  # a copy, or from a pickle
        core = _core.LstmConfig(**config._values())
        object.__setattr__(config, "_core", core)
    return core


def config_parameters(names: Iterable[str]) -> dict[str, inspect.Parameter]:
    """Return fields of `LSTMConfig` as keyword-only parameters, with types instead of strings."""
    fields, kinds = inspect.signature(LSTMConfig).parameters, get_type_hints(LSTMConfig)
    return {
        name: fields[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[name])
        for name in names
    }

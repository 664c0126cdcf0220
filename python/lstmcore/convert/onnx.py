"""Convert an LSTM's weights and options to those of ONNX's LSTM operator and back.

The operator has the gates in the order i, o, f, c (c is g here), biases in two halves, peepholes in
the order i, o, f, and all directions of one layer in one array. The package ``onnx`` is not needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lstmcore import _checks
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array, ArrayLike, CellActivation, Direction, choices
from lstmcore.config import OPTIONS, Activation, LSTMConfig

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_ACTIVATIONS",
    "DIRECTIONS",
    "check_activations",
    "check_options",
    "check_weights",
    "from_onnx",
    "split_directions",
    "to_onnx",
]

ACTIVATIONS: dict[CellActivation, str] = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "hard_sigmoid": "HardSigmoid",
    "softsign": "Softsign",
    "softplus": "Softplus",
    "affine": "Affine",
    "scaled_tanh": "ScaledTanh",
    "thresholded_relu": "ThresholdedRelu",
}
"""ONNX's names of activations; ``linear`` has none and is written as Affine with 1 and 0."""

_EXACT: dict[CellActivation, CellActivation] = {"fast_sigmoid": "sigmoid", "fast_tanh": "tanh"}

TAKES_ALPHA = ("leaky_relu", "elu", "thresholded_relu", "hard_sigmoid", "affine", "scaled_tanh")
TAKES_BETA = ("hard_sigmoid", "affine", "scaled_tanh")
DEFAULT_ACTIVATIONS = ("Sigmoid", "Tanh", "Tanh")
DIRECTIONS = choices(Direction)

_OWN_NAMES = {name.lower(): own for own, name in ACTIVATIONS.items()}
_ROLES = tuple(option.name for option in OPTIONS if option.onnx == "activations")  # in ONNX's order
# Indices of ONNX's gates i, o, f, c among i, f, g, o, and vice versa; then of peepholes.
_TO_ONNX, _FROM_ONNX = (0, 3, 1, 2), (0, 2, 3, 1)
_PEEPHOLES = (0, 2, 1)  # i, o, f among i, f, o; its own inverse


def from_onnx(
    W: ArrayLike,
    R: ArrayLike,
    B: ArrayLike | None = None,
    P: ArrayLike | None = None,
    *,
    hidden_size: int,
    direction: Direction = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    clip_output: bool = True,
    input_forget: Literal[0, 1] = 0,
) -> tuple[dict[str, Array], LSTMConfig]:
    """Convert the inputs and attributes of an ONNX LSTM node; None stands for one that is absent.

    Parameters
    ----------
    W : array_like, shape (D, 4H, C)
        float32 or float64, as are the other arrays.
    R : array_like, shape (D, 4H, H)
    B : array_like, shape (D, 8H), optional
        The biases of W, then those of R. They are added; where one is zero, the sum has the bits of
        the other. None: ``bias=False``.
    P : array_like, shape (D, 3H), optional
        Peephole weights of i, o, f.
    hidden_size : int
        H.
    direction : {"forward", "reverse", "bidirectional"}
        "reverse" is ``go_backwards=True``: outputs stay in the order of the input.
    activations : sequence of str, optional
        Three for each direction, in upper or lower case; None: Sigmoid, Tanh, Tanh.
    activation_alpha, activation_beta : sequence of float, optional
        Parameters of those activations that have one, in order. Activations beyond the end of the
        list have default values; surplus numbers are ignored, as in ONNX Runtime.
    clip : float, optional
        The activations' arguments are clipped to [-clip, clip].
    clip_output : bool, default True
        Whether that includes the argument of the third activation, c on its way to h, as the
        standard says; False: only those of the first two, as ONNX Runtime computes it.
    input_forget : {0, 1}, default 0
        1: f = 1 - i, as ONNX Runtime computes it.

    Returns
    -------
    weights : dict of str to ndarray
        Weights of one layer for `functional.lstm`, in new arrays of the same dtype.
    config : LSTMConfig

    Raises
    ------
    TypeError
        If an argument has the wrong type, or dtypes are mixed.
    ValueError
        If a shape or value is wrong; if the directions of a bidirectional node have different
        activations (see `split_directions`); or if lstmcore has no such LSTM.

    Notes
    -----
    With `input_forget` the gates are coupled here by i = 1 - f, with the negated weights of i as
    those of f. That is equivalent if the gates' activation s satisfies s(-x) = 1 - s(x); other
    activations are refused.
    """
    directions = _direction_count(direction)
    hidden = _checks.integer(hidden_size, "hidden_size", 1)
    arrays = _arrays(W, R, B, P, directions, hidden)
    chosen = _activations(activations, activation_alpha, activation_beta, directions)
    if len(set(chosen)) > 1:
        raise ValueError(
            "activations: expected the same in both directions, got "
            f"{_show(chosen[0])} and {_show(chosen[1])}; split_directions makes two LSTMs of it"
        )
    gate, cell, output = chosen[0]
    if _checks.integer(input_forget, "input_forget") not in (0, 1):
        raise ValueError(f"input_forget: expected 0 or 1, got {input_forget}")
    if input_forget:
        _check_coupled(gate, "input_forget", "activations")
    bound = 0.0 if clip is None else _checks.real(clip, "clip", 0.0, low_open=True)
    config = LSTMConfig(
        arrays["W"].shape[2],
        hidden,
        bidirectional=direction == "bidirectional",
        go_backwards=direction == "reverse",
        bias="B" in arrays,
        peephole="P" in arrays,
        coupled_gates=bool(input_forget),
        gate_clip=bound,
        output_clip=bound if _checks.flag(clip_output, "clip_output") else 0.0,
        gate_activation=gate,
        cell_activation=cell,
        output_activation=output,
    )
    weights: dict[str, Array] = {}
    for place, suffix in enumerate(_suffixes(config, 0)):
        found = {
            "weight_ih": _reorder(arrays["W"][place], _FROM_ONNX),
            "weight_hh": _reorder(arrays["R"][place], _FROM_ONNX),
        }
        if "B" in arrays:
            of_x, of_h = np.split(arrays["B"][place], 2)
            # Adding zero would lose the sign of a negative zero.
            total = np.where(of_h == 0, of_x, np.where(of_x == 0, of_h, of_x + of_h))
            found["bias"] = _reorder(total, _FROM_ONNX)
        if "P" in arrays:
            found["peephole"] = _reorder(arrays["P"][place], _PEEPHOLES)
        if config.coupled_gates:
            found = {name: _coupled(array, hidden) for name, array in found.items()}
        weights.update({name + suffix: array for name, array in found.items()})
    return {name: weights[name] for name in config.parameter_shapes()}, config


def split_directions(
    W: ArrayLike,
    R: ArrayLike,
    B: ArrayLike | None = None,
    P: ArrayLike | None = None,
    *,
    hidden_size: int,
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    clip_output: bool = True,
    input_forget: Literal[0, 1] = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a bidirectional ONNX node into two LSTMs of one direction each.

    A node's directions may have different activations, which an `LSTMConfig` cannot express. Then
    run each direction by itself and concatenate the outputs.

    Parameters
    ----------
    W, R, B, P, hidden_size, activations, activation_alpha, activation_beta
        See `from_onnx`, with D = 2.
    clip, clip_output, input_forget
        See `from_onnx`.

    Returns
    -------
    forward, reverse : dict of str to object
        Keyword arguments of `from_onnx`, `direction` included.

    Raises
    ------
    TypeError, ValueError
        See `from_onnx`: if the arrays or the activations do not fit.
    """
    hidden = _checks.integer(hidden_size, "hidden_size", 1)
    arrays = _arrays(W, R, B, P, 2, hidden)
    chosen = _activations(activations, activation_alpha, activation_beta, 2)
    ahead, back = (
        {
            **{name: array[place : place + 1] for name, array in arrays.items()},
            "hidden_size": hidden,
            "direction": DIRECTIONS[place],
            **_attributes(chosen[place], 1),
            "clip": clip,
            "clip_output": clip_output,
            "input_forget": input_forget,
        }
        for place in (0, 1)
    )
    return ahead, back


def to_onnx(weights: Mapping[str, Any], config: LSTMConfig, layer: int = 0) -> dict[str, Any]:
    """Convert one layer to the inputs and attributes of an ONNX LSTM node.

    Parameters
    ----------
    weights : mapping of str to ndarray
        All weights of `config`.
    config : LSTMConfig
        Options. Dropout of any kind does nothing at inference and is left out.
    layer : int, default 0
        Index of the stacked layer.

    Returns
    -------
    dict of str to object
        The keyword arguments with which `from_onnx` makes the same LSTM: ``W`` (D, 4H, C), ``R``
        (D, 4H, H), ``B`` (D, 8H) with zeros in its second half, or None, and ``P`` (D, 3H), or
        None, in the dtype of the weights; ``hidden_size``, ``direction``, ``activations``,
        ``activation_alpha`` and ``activation_beta`` (None: no activation has one), ``clip`` (None:
        no bound) and ``input_forget``.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or dtypes are mixed.
    ValueError
        If weights are missing, unknown or of a wrong shape; if there is no such layer; or if the
        operator lacks an option of `config`, which the error names.
    """
    check_weights(weights, config)
    layer = _checks.integer(layer, "layer", 0)
    if layer >= config.num_layers:
        raise ValueError(f"layer: expected 0..{config.num_layers - 1}, got {layer}")
    check_options(config)
    roles = [getattr(config, role) for role in _ROLES]
    arrays: dict[str, list[Array]] = {}
    for suffix in _suffixes(config, layer):
        found = {
            name: np.asarray(weights[name + suffix])
            for name in ("weight_ih", "weight_hh", "bias", "peephole")
            if name + suffix in weights
        }
        if config.coupled_gates:
            found = {name: _coupled(array, config.hidden_size) for name, array in found.items()}
        arrays.setdefault("W", []).append(_reorder(found["weight_ih"], _TO_ONNX))
        arrays.setdefault("R", []).append(_reorder(found["weight_hh"], _TO_ONNX))
        if config.bias:
            bias = _reorder(found["bias"], _TO_ONNX)
            arrays.setdefault("B", []).append(np.concatenate([bias, np.zeros_like(bias)]))
        if config.peephole:
            arrays.setdefault("P", []).append(_reorder(found["peephole"], _PEEPHOLES))
    return {
        **{name: np.stack(arrays[name]) if name in arrays else None for name in "WRBP"},
        "hidden_size": config.hidden_size,
        "direction": DIRECTIONS[2 if config.bidirectional else int(config.go_backwards)],
        **_attributes(tuple(roles), config.num_directions),
        "clip": config.gate_clip or None,
        "input_forget": int(config.coupled_gates),
    }


def check_options(config: LSTMConfig) -> None:
    """Raise ValueError if ONNX's LSTM operator lacks an option; the error names it."""
    check_activations(config)
    for option in OPTIONS:
        value = getattr(config, option.name)
        if option.onnx is None and value != option.default:
            raise ValueError(f"{option.name}: ONNX's LSTM operator has no such option, got {value}")
    if config.output_clip != config.gate_clip:
        raise ValueError(
            "output_clip: ONNX's clip bounds the arguments of all activations alike; expected the "
            f"value of gate_clip, {config.gate_clip}, got {config.output_clip}"
        )
    if config.coupled_gates:
        _check_coupled(config.gate_activation, "coupled_gates", "gate_activation")


def check_activations(config: LSTMConfig) -> None:
    """Raise ValueError if ONNX lacks an activation: the cheaper approximations."""
    for role in _ROLES:
        name = getattr(config, role).name
        if name in _EXACT:
            raise ValueError(
                f"{role}: ONNX has no {name}; to export the function that it approximates, give "
                f"the weights to a layer with {_EXACT[name]!r}"
            )


def check_weights(weights: Mapping[str, Any], config: LSTMConfig) -> "np.dtype[Any]":
    """Return the dtype of `weights`, after checking that they are the weights of `config`.

    Parameters
    ----------
    weights : mapping of str to ndarray
    config : LSTMConfig

    Raises
    ------
    TypeError
        If an argument or an array has the wrong type, or dtypes are mixed.
    ValueError
        If a name is missing or unknown, or a shape is wrong.
    """
    _checks.instance(weights, Mapping, "weights", "a mapping from names to arrays")
    _checks.instance(config, LSTMConfig, "config", "an LSTMConfig")
    shapes = config.parameter_shapes()
    missing = [name for name in shapes if name not in weights]
    unknown = [str(name) for name in weights if name not in shapes]
    for names, what in ((missing, "missing"), (unknown, "unknown")):
        if names:
            raise ValueError(f"weights: {what}: {', '.join(names)}")
    dtype: np.dtype[Any] | None = None
    for name, shape in shapes.items():
        array = _checks.float_array(weights[name], name, dtype)
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        dtype = array.dtype
    assert dtype is not None
    return dtype


def _direction_count(direction: str) -> int:
    return 2 if _checks.choice(direction, "direction", DIRECTIONS) == "bidirectional" else 1


def _suffixes(config: LSTMConfig, layer: int) -> list[str]:
    return [f"_l{layer}", f"_l{layer}_reverse"][: config.num_directions]


def _arrays(W: Any, R: Any, B: Any, P: Any, directions: int, hidden: int) -> dict[str, Array]:
    """Return the arrays that are not None, after checking their shapes and dtypes."""
    for name, value in (("W", W), ("R", R)):
        if value is None:
            raise TypeError(f"{name}: expected an array, got None; only B and P may be left out")
    first = _checks.float_array(W, "W")
    expected = (directions, 4 * hidden)
    if first.ndim != 3 or first.shape[:2] != expected or first.shape[2] == 0:
        raise ValueError(
            f"W: expected shape ({directions}, {4 * hidden}, C), the number of directions, 4 times "
            f"hidden_size and the width of the input, got {first.shape}"
        )
    arrays = {"W": first}
    for name, value, shape in (
        ("R", R, (*expected, hidden)),
        ("B", B, (directions, 8 * hidden)),
        ("P", P, (directions, 3 * hidden)),
    ):
        if value is None and name != "R":
            continue
        array = _checks.float_array(value, name, first.dtype)
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        arrays[name] = array
    return arrays


def _activations(
    names: Sequence[str] | None,
    alpha: Sequence[float] | None,
    beta: Sequence[float] | None,
    directions: int,
) -> list[tuple[Activation, ...]]:
    """Return the three activations of each direction, with their parameters."""
    if isinstance(names, (str, bytes)):
        raise TypeError(f"activations: expected a list of names, got {names!r}")
    given = list(names) if names is not None else [*DEFAULT_ACTIVATIONS] * directions
    if len(given) != 3 * directions:
        raise ValueError(
            f"activations: expected {3 * directions} names, three per direction, got {len(given)}"
        )
    own = []
    for name in given:
        _checks.instance(name, str, "activations", "names")
        if name.lower() not in _OWN_NAMES:
            expected = ", ".join(ACTIVATIONS.values())
            hint = did_you_mean(name, ACTIVATIONS.values())
            raise ValueError(f"activations: expected some of {expected}, got {name!r}{hint}")
        own.append(_OWN_NAMES[name.lower()])
    alphas = _parameters(alpha, "activation_alpha", own, TAKES_ALPHA)
    betas = _parameters(beta, "activation_beta", own, TAKES_BETA)
    chosen = [_complete(*entry) for entry in zip(own, alphas, betas, strict=True)]
    return [tuple(chosen[3 * place : 3 * place + 3]) for place in range(directions)]


def _complete(name: CellActivation, alpha: float | None, beta: float | None) -> Activation:
    """Fill in default parameters and check them, both by means of an `LSTMConfig`."""
    try:
        config = LSTMConfig(1, 1, gate_activation=Activation(name, alpha, beta))
    except ValueError as error:
        raise ValueError(str(error).replace("gate_activation", "activations", 1)) from None
    return Activation(*config.gate_activation)


def _parameters(
    values: Sequence[float] | None, name: str, own: Sequence[str], takers: tuple[str, ...]
) -> list[float | None]:
    """Assign the values of a list to those activations that take a parameter.

    Some exporters write a number for every activation; the surplus is ignored.
    """
    if values is not None and not isinstance(values, (list, tuple, np.ndarray)):
        raise TypeError(f"{name}: expected a list of numbers, got {_checks.describe(values)}")
    numbers = [] if values is None else [_checks.real(value, name) for value in values]
    places = [place for place, entry in enumerate(own) if entry in takers]
    dealt: list[float | None] = [None] * len(own)
    for place, number in zip(places, numbers, strict=False):
        dealt[place] = number
    return dealt


def _attributes(roles: tuple[Activation, ...], directions: int) -> dict[str, Any]:
    """Return the activations as attributes of a node."""
    named = [Activation("affine", 1.0, 0.0) if role.name == "linear" else role for role in roles]
    alpha = [role.alpha for role in named if role.name in TAKES_ALPHA]
    beta = [role.beta for role in named if role.name in TAKES_BETA]
    return {
        "activations": [ACTIVATIONS[role.name] for role in named] * directions,
        "activation_alpha": alpha * directions or None,
        "activation_beta": beta * directions or None,
    }


def _check_coupled(activation: Any, option: str, source: str) -> None:
    """Raise ValueError unless 1 - s(x) is s(-x)."""
    name, _, beta = activation
    if not (name == "sigmoid" or (name in ("hard_sigmoid", "affine") and beta == 0.5)):
        raise ValueError(
            f"{option}: ONNX couples the gates by f = 1 - i and lstmcore by i = 1 - f, which is "
            f"the same only if {source} has s(-x) = 1 - s(x): sigmoid, hard_sigmoid and affine "
            f"with beta 0.5; got {_show((activation,))}"
        )


def _coupled(array: Array, hidden: int) -> Array:
    """Negate and swap the rows of i and f, the first two gates; its own inverse."""
    return np.concatenate([-array[hidden : 2 * hidden], -array[:hidden], array[2 * hidden :]])


def _reorder(array: Array, order: tuple[int, ...]) -> Array:
    gates = np.split(array, len(order))
    return np.concatenate([gates[place] for place in order])


def _show(roles: tuple[Activation, ...]) -> str:
    shown = []
    for name, alpha, beta in roles:
        values = [alpha] * (name in TAKES_ALPHA) + [beta] * (name in TAKES_BETA)
        shown.append(name + (f"({', '.join(f'{value:g}' for value in values)})" if values else ""))
    return ", ".join(shown)

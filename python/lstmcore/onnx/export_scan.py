"""The cell's equations as the body of a Scan over the steps of one direction of a layer."""

from typing import Any, cast

import numpy as np
from onnx import helper

from lstmcore._typing import Array
from lstmcore.config import OPTIONS, Activation, LSTMConfig
from lstmcore.onnx.export_graph import Flow, Graph, Lengths, tensor_type

__all__ = ["scan"]

_PLAIN = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
_WITH_ALPHA = {"leaky_relu": "LeakyRelu", "elu": "Elu", "thresholded_relu": "ThresholdedRelu"}


def scan(
    graph: Graph,
    weights: dict[str, Array],
    config: LSTMConfig,
    place: int,
    x: str,
    lengths: Lengths | None,
    before: tuple[str, str],
    wanted: tuple[bool, bool, bool],
) -> tuple[str, str, str]:
    """Add one of the stacked layers, as a Scan for each direction.

    Steps past a row's length leave its state unchanged and output zeros, so a backward walk begins,
    in effect, at each row's own last step.

    Parameters
    ----------
    graph : Graph
    weights : dict of str to ndarray
        Weights by the engine's names.
    config : LSTMConfig
    place : int
        Index of the layer.
    x : str
        (T, N, C).
    lengths : Lengths or None
    before : pair of str
        The initial h and c (D, N, H); empty for zeros.
    wanted : tuple of bool
        Which of the results are needed.

    Returns
    -------
    y, h, c : str
        (T, D, N, H), and (D, N, H) after the last valid step of each row.

    Raises
    ------
    ValueError
        If the export would ignore one of the options in `config`.
    """
    watched = _Watched(config)
    config = cast(LSTMConfig, watched)
    outer, results = graph.scope, []
    for direction in range(config.num_directions):
        suffix = f"_l{place}" + ("_reverse" if direction else "")
        cell = {
            name.removesuffix(suffix): array
            for name, array in weights.items()
            if name.endswith(suffix)
        }
        graph.scope = f"{outer}/{suffix[1:]}"
        state = [
            _zeros(graph, x, width)
            if not name
            else graph.add("Gather", name, graph.integer(direction), axis=0)
            for name, width in zip(before, (config.state_size, config.hidden_size), strict=True)
        ]
        results.append(
            _direction(graph, cell, config, x, lengths, state, _backwards(config, direction))
        )
    graph.scope = outer
    watched.refuse_unread()
    y, h, c = (
        _stacked(graph, [result[part] for result in results], axis) if wanted[part] else ""
        for part, axis in enumerate((1, 0, 0))
    )
    return y, h, c


class _Watched:
    """A configuration that records which of its options have been read."""

    def __init__(self, config: LSTMConfig) -> None:
        self._config = config
        self._read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._config, name)

    def refuse_unread(self) -> None:
        """Raise ValueError if an option that ONNX's LSTM operator lacks is set but was not read."""
        for option in OPTIONS:
            value = getattr(self._config, option.name)
            if option.onnx is None and option.name not in self._read and value != option.default:
                raise ValueError(f"{option.name}: cannot be exported to ONNX, got {value}")


def _backwards(config: LSTMConfig, direction: int) -> bool:
    return direction == 1 or config.go_backwards


def _zeros(graph: Graph, x: str, width: int) -> str:
    """Return zeros of shape (N, width) for x (T, N, C)."""
    rows = graph.add("Unsqueeze", graph.size(x, 1), graph.integers(0))
    shape = graph.add("Concat", rows, graph.integers(width), axis=0)
    return graph.add("Expand", graph.number(0.0), shape)


def _stacked(graph: Graph, names: list[str], axis: int) -> str:
    parts = [graph.add("Unsqueeze", name, graph.integers(axis)) for name in names]
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=axis)


def _direction(
    graph: Graph,
    cell: dict[str, Array],
    config: LSTMConfig,
    x: str,
    lengths: Lengths | None,
    state: list[str],
    backwards: bool,
) -> list[str]:
    """Add the walk of one direction: y (T, N, H), h and c."""
    used = _used_gates(cell, config)
    from_x = graph.add("MatMul", x, graph.weight("weight_ih", used["weight_ih"].T))
    if config.layer_norm:
        width, epsilon = len(used["weight_ih"]), config.layer_norm_epsilon
        from_x = graph.normalized(from_x, width, epsilon, used["gain_ih"], None)
    if config.bias:
        from_x = graph.add("Add", from_x, graph.weight("bias", used["bias"]))
    scanned = [from_x]
    if lengths is not None:
        scanned.append(graph.mask(Flow(x, "TNC", (None, None, None), lengths)))
    body = _body(graph, used, config, lengths is not None)
    ways = [int(backwards)]
    h, c, y = graph.add_several(
        "Scan",
        (*state, *scanned),
        ("h", "c", "y"),
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=ways * len(scanned),
        scan_output_directions=ways,
    )
    return [y, h, c]


def _used_gates(cell: dict[str, Array], config: LSTMConfig) -> dict[str, Array]:
    """Leave out the rows of i if the gates are coupled."""
    if not config.coupled_gates:
        return cell
    units = config.hidden_size
    gated = ("weight_ih", "weight_hh", "bias", "gain_ih", "gain_hh", "peephole")
    return {name: array[units:] if name in gated else array for name, array in cell.items()}


def _body(graph: Graph, cell: dict[str, Array], config: LSTMConfig, masked: bool) -> Any:
    """Build one step: from h, c, the gates' products with x, and the active rows, to h, c, y."""
    body = Graph(graph.opset, graph.dtype, graph.recurrent, graph)
    units, gates = config.hidden_size, len(cell["weight_ih"]) // config.hidden_size
    h, c, from_x, there = (body.scoped(f"step/{name}") for name in ("h", "c", "x", "there"))

    from_h = body.add("MatMul", h, body.weight("weight_hh", cell["weight_hh"].T))
    if config.layer_norm:
        epsilon = config.layer_norm_epsilon
        from_h = body.normalized(from_h, gates * units, epsilon, cell["gain_hh"], None)
    names = "ifgo"[-gates:]
    split = body.add_several(
        "Split",
        (body.add("Add", from_x, from_h), body.integers(*[units] * gates)),
        list(names),
        axis=-1,
    )
    z = dict(zip(names, split, strict=True))
    looks: dict[str, Array] = {}
    if config.peephole:
        with_peepholes = [name for name in names if name != "g"]
        parts = np.split(cell["peephole"], len(with_peepholes))
        looks = dict(zip(with_peepholes, parts, strict=True))

    def gate(name: str, seen: str) -> str:
        value = z[name]
        if name in looks:
            look = body.weight(f"peephole_{name}", looks[name])
            value = body.add("Add", value, body.add("Mul", seen, look))
        role = config.cell_activation if name == "g" else config.gate_activation
        return _activate(body, _bounded(body, value, config.gate_clip), Activation(*role))

    f, g = gate("f", c), gate("g", c)
    i = body.add("Sub", body.number(1.0), f) if config.coupled_gates else gate("i", c)
    new_c = body.add("Add", body.add("Mul", f, c), body.add("Mul", i, g))
    new_c = _bounded(body, new_c, config.cell_clip)
    o, shown = gate("o", new_c), new_c
    if config.layer_norm:
        bias, gain = cell.get("bias_c"), cell["gain_c"]
        shown = body.normalized(new_c, units, config.layer_norm_epsilon, gain, bias)
    shown = _bounded(body, shown, config.output_clip)
    output = _activate(body, shown, Activation(*config.output_activation))
    new_h = body.add("Mul", o, output)
    if config.proj_size:
        new_h = body.add("MatMul", new_h, body.weight("weight_hr", cell["weight_hr"].T))
        new_h = _bounded(body, new_h, config.proj_clip)
    new_h = _zoned_out(body, h, new_h, config.zoneout_h)
    new_c = _zoned_out(body, c, new_c, config.zoneout_c)
    y = new_h
    if masked:
        y = body.add("Where", there, new_h, body.number(0.0))
        new_h = body.add("Where", there, new_h, h)
        new_c = body.add("Where", there, new_c, c)
    # Every output of a body needs a distinct name.
    results = [body.add("Identity", name) for name in (new_h, new_c, y)]

    kind = tensor_type(graph.dtype)

    def value(name: str, width: int, of: int = kind) -> Any:
        return helper.make_tensor_value_info(name, of, [None, width])

    inputs = [value(h, config.state_size), value(c, units), value(from_x, gates * units)]
    if masked:
        inputs.append(value(there, 1, tensor_type(np.bool_)))
    widths = (config.state_size, units, config.state_size)
    outputs = [value(name, width) for name, width in zip(results, widths, strict=True)]
    return helper.make_graph(body.nodes, body.scoped("step"), inputs, outputs)


def _bounded(body: Graph, name: str, limit: float) -> str:
    return body.add("Clip", name, body.number(-limit), body.number(limit)) if limit else name


def _zoned_out(body: Graph, before: str, after: str, rate: float) -> str:
    """Return the expected value under zoneout at this rate."""
    if not rate:
        return after
    kept = body.add("Mul", before, body.number(rate))
    return body.add("Add", kept, body.add("Mul", after, body.number(1.0 - rate)))


def _activate(body: Graph, name: str, activation: Activation) -> str:
    kind, alpha, beta = activation
    assert alpha is not None
    assert beta is not None
    if kind == "linear":
        return name
    if kind in _PLAIN:
        return body.add(_PLAIN[kind], name)
    if kind in _WITH_ALPHA:
        return body.add(_WITH_ALPHA[kind], name, alpha=alpha)
    if kind == "hard_sigmoid":
        return body.add("HardSigmoid", name, alpha=alpha, beta=beta)
    if kind == "affine":
        scaled = body.add("Mul", name, body.number(alpha))
        return body.add("Add", scaled, body.number(beta))
    assert kind == "scaled_tanh"
    turned = body.add("Tanh", body.add("Mul", name, body.number(beta)))
    return body.add("Mul", turned, body.number(alpha))

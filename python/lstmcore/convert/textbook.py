"""Convert weights from and to the form of textbooks: one matrix over [h, x] for each gate."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, Candidate, GateOrder, choices
from lstmcore.config import LSTMConfig
from lstmcore.convert import _strict

__all__ = ["from_textbook", "to_textbook"]

Gates: TypeAlias = Mapping[str, Any]
"""``W_f``, ``b_f`` and so on of one LSTM cell."""


def from_textbook(
    gates: Gates | Sequence[Gates | Sequence[Gates]],
    *,
    order: GateOrder = "hx",
    dropout: float = 0.0,
) -> tuple[dict[str, Array], LSTMConfig]:
    """Convert weights from the form ``f = sigmoid(W_f [h, x] + b_f)``.

    Parameters
    ----------
    gates : mapping of str to array_like, or sequence
        ``W_f``, ``W_i``, ``W_c`` (or ``W_g``) and ``W_o``, each (H, H + C), of the forget gate, the
        input gate, the candidate and the output gate; ``b_f``, ``b_i``, ``b_c`` (or ``b_g``) and
        ``b_o``, each (H,), or no biases at all. All are float32 or all are float64. A sequence
        holds the layers of a stack; a pair in it holds the two directions of a layer.
    order : {"hx", "xh"}, default "hx"
        Whether the columns of h or those of x come first.
    dropout : float, default 0.0
        For the configuration, since weights do not store it.

    Returns
    -------
    weights : dict of str to ndarray
        Weights for `functional.lstm`.
    config : LSTMConfig
        Sizes, taken from the shapes.

    Raises
    ------
    ValueError
        If matrices are missing, extra or do not fit; the error names all of them.
    TypeError
        If they are not float32 or float64, or have different types.
    """
    _checks.choice(order, "order", choices(GateOrder))
    cells = _cells(gates)
    found = [
        {name: _strict.tensor(value, name) for name, value in cell.items()} for _, cell in cells
    ]
    candidate = "g" if "W_g" in found[0] else "c"
    biased = any(name.startswith("b_") for name in found[0])
    matrix = found[0].get("W_f")
    if matrix is None or len(matrix.shape) != 2 or not 0 < matrix.shape[0] < matrix.shape[1]:
        came = "nothing" if matrix is None else f"shape {matrix.shape}"
        raise ValueError(f"W_f: expected a matrix (H, H + C), got {came}")
    hidden = matrix.shape[0]
    both = any(suffix.endswith("_reverse") for suffix, _ in cells)
    config = LSTMConfig(
        matrix.shape[1] - hidden,
        hidden,
        num_layers=len(cells) // (2 if both else 1),
        bidirectional=both,
        dropout=dropout,
        bias=biased,
    )
    width = config.input_size
    expected: dict[str, tuple[int, ...]] = {}
    for suffix, _ in cells:
        if not suffix.startswith("_l0"):
            width = config.output_size
        for gate in _gates(candidate):
            expected[f"W_{gate}{suffix}"] = (hidden, hidden + width)
            if biased:
                expected[f"b_{gate}{suffix}"] = (hidden,)
    flat = {
        name + suffix: entry
        for (suffix, _), cell in zip(cells, found, strict=True)
        for name, entry in cell.items()
    }
    _strict.check("gates", expected, flat)
    weights: dict[str, Array] = {}
    for suffix, _ in cells:
        rows = [flat[f"W_{gate}{suffix}"].read() for gate in _gates(candidate)]
        matrix_of_all = np.concatenate(rows)
        if order == "hx":
            h, x = matrix_of_all[:, :hidden], matrix_of_all[:, hidden:]
        else:
            x, h = matrix_of_all[:, :-hidden], matrix_of_all[:, -hidden:]
        weights["weight_ih" + suffix] = np.ascontiguousarray(x)
        weights["weight_hh" + suffix] = np.ascontiguousarray(h)
        if biased:
            parts = [flat[f"b_{gate}{suffix}"].read() for gate in _gates(candidate)]
            weights["bias" + suffix] = np.concatenate(parts)
    return weights, config


def to_textbook(
    weights: Mapping[str, Array],
    config: LSTMConfig,
    *,
    order: GateOrder = "hx",
    candidate: Candidate = "c",
) -> Any:
    """Convert weights to the form ``f = sigmoid(W_f [h, x] + b_f)``.

    Parameters
    ----------
    weights : mapping of str to ndarray
        All weights of `config`.
    config : LSTMConfig
        Sizes, biases and ``dropout``; other options have no such form.
    order : {"hx", "xh"}, default "hx"
        Whether the columns of h or those of x come first.
    candidate : {"c", "g"}, default "c"
        The letter of the candidate: ``W_c`` or ``W_g``.

    Returns
    -------
    dict of str to ndarray, or list
        ``W_f``, ``b_f`` and so on, as new arrays; for a stack, a list of its layers; for two
        directions, a list of layers, each a pair. `from_textbook` accepts all of these.

    Raises
    ------
    ValueError
        If `config` has options without such a form, or `weights` are not its weights.
    TypeError
        If weights are not float32 or float64, or have different types.
    """
    _checks.choice(order, "order", choices(GateOrder))
    _checks.choice(candidate, "candidate", choices(Candidate))
    arrays = _strict.check_weights(weights, config)
    sizes = ("num_layers", "bidirectional", "dropout", "bias")
    _strict.refuse_options(config, sizes, "the textbook form")

    def gates(suffix: str) -> dict[str, Array]:
        parts = [arrays["weight_hh" + suffix], arrays["weight_ih" + suffix]]
        matrix = np.concatenate(parts if order == "hx" else parts[::-1], axis=1)
        names = _gates(candidate)
        cell = {
            f"W_{name}": part.copy() for name, part in zip(names, np.split(matrix, 4), strict=True)
        }
        if config.bias:
            biases = np.split(arrays["bias" + suffix], 4)
            cell |= {f"b_{name}": part.copy() for name, part in zip(names, biases, strict=True)}
        return cell

    suffixes = [f"_l{layer}" for layer in range(config.num_layers)]
    if config.bidirectional:
        return [(gates(suffix), gates(suffix + "_reverse")) for suffix in suffixes]
    layers = [gates(suffix) for suffix in suffixes]
    return layers[0] if len(layers) == 1 else layers


def _gates(candidate: str) -> tuple[str, ...]:
    """Return the gates' letters in the order of the engine's rows."""
    return ("i", "f", candidate, "o")


def _cells(gates: Any) -> list[tuple[str, Gates]]:
    """List the cells with the suffixes of their weights' names in the engine."""
    layers = [gates] if isinstance(gates, Mapping) else gates
    if not isinstance(layers, (list, tuple)) or not layers:
        raise TypeError(
            "gates: expected a mapping of names to arrays, or a sequence of such, got "
            f"{_checks.describe(gates)}"
        )
    cells: list[tuple[str, Gates]] = []
    widths = set()
    for index, layer in enumerate(layers):
        directions = [layer] if isinstance(layer, Mapping) else layer
        fits = isinstance(directions, (list, tuple)) and len(directions) in (1, 2)
        if not fits or not all(isinstance(cell, Mapping) for cell in directions):
            raise TypeError(
                f"gates: expected a mapping or a pair of mappings for layer {index}, got "
                f"{_checks.describe(layer)}"
            )
        for name in (name for cell in directions for name in cell):
            _checks.instance(name, str, "gates", "names of matrices, such as 'W_f'")
        widths.add(len(directions))
        names = (f"_l{index}", f"_l{index}_reverse")
        cells += zip(names, directions, strict=False)
    if len(widths) > 1:
        raise ValueError("gates: expected one direction in all layers, or two in all")
    return cells

"""Convert weights from and to PyTorch: modules, state dicts and their files."""

import io
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from lstmcore import _checks
from lstmcore._files import as_path, replace
from lstmcore._intake import warn_of_infinite
from lstmcore._typing import Array, ArrayLike
from lstmcore.config import LSTMConfig
from lstmcore.convert import _strict
from lstmcore.convert._torch_files import import_torch, read_state
from lstmcore.convert._torch_layers import build, computes_as, places_of
from lstmcore.layers import Layer
from lstmcore.models import Sequential

if TYPE_CHECKING:
    import torch

__all__ = ["from_torch", "layer_from_torch", "load_torch", "save_torch", "to_torch"]

FORM = "PyTorch's LSTM"
WRITTEN = (".pt", ".pth")

State: TypeAlias = "Mapping[str, ArrayLike | torch.Tensor]"
Source: TypeAlias = "str | os.PathLike[str] | State | torch.nn.Module"
"""A module, a state dict, or a file that holds one."""


def from_torch(
    source: Source, *, prefix: str = "", dropout: float | None = None
) -> tuple[dict[str, Array], LSTMConfig]:
    """Read the weights of an ``nn.LSTM`` or ``nn.LSTMCell``.

    Parameters
    ----------
    source : module, mapping of str to tensor or ndarray, or path
        The module, a module that contains it, a state dict, or a file that holds one:
        ``.safetensors``, or ``.pt``, ``.pth`` and ``.bin``, which PyTorch itself reads
        (``weights_only=True``).
    prefix : str, default ""
        Where in `source` the LSTM is: "encoder.lstm" if a name is "encoder.lstm.weight_ih_l0". With
        "", `source` is the LSTM. For a checkpoint, which holds state dicts among other things,
        begin with the state dict's name: "state_dict.encoder.lstm".
    dropout : float, optional
        Dropout between layers, for the configuration. A module has it already; for a state dict,
        which does not store it, None means 0.

    Returns
    -------
    weights : dict of str to ndarray
        Weights for `functional.lstm`. PyTorch's two biases of each gate are added, which computes
        the same function but loses the split.
    config : LSTMConfig
        Sizes, taken from the shapes.

    Raises
    ------
    ValueError
        If `source` is not an LSTM, or tensors are missing, extra or do not fit; the error names
        all.
    TypeError
        If tensors are not float32 or float64, or not all of one type.
    ImportError
        If `source` is a file that only PyTorch can read, and PyTorch is not installed.

    Notes
    -----
    Names, gate order (i, f, g, o) and shapes are the same as in PyTorch, including ``weight_hr_l0``
    of a projection. ``batch_first`` does not affect weights; arrays here are always batch first.
    """
    module = _module(source)
    if module is not None:
        if prefix:
            module, prefix = _submodule(module, prefix), ""
        kind = _lstm_kind(module)
        if kind == "LSTM":
            if dropout is not None:
                raise ValueError(f"dropout: expected None alongside a module, got {dropout}")
            dropout = float(module.dropout)
        source = module.state_dict()
    _checks.instance(prefix, str, "prefix", "a str")
    found = _under(read_state(source, [prefix]), prefix)
    suffix = "" if "weight_ih_l0" in found or "weight_ih" not in found else "_l0"
    found = {name + suffix: entry for name, entry in found.items()}
    config = _config(found, prefix, 0.0 if dropout is None else dropout)
    _strict.check(FORM, _shapes(config), found)
    weights: dict[str, Array] = {}
    for name in config.parameter_shapes():
        if name.startswith("bias"):
            pair = (found[name.replace("bias", half)].read() for half in ("bias_ih", "bias_hh"))
            weights[name] = np.add(*pair)
        else:
            weights[name] = found[name].read()
    return weights, config


@overload
def to_torch(
    weights: Mapping[str, Array],
    config: LSTMConfig,
    *,
    prefix: str = "",
    module: Literal[False] = False,
) -> dict[str, Array]: ...


@overload
def to_torch(
    weights: Mapping[str, Array], config: LSTMConfig, *, prefix: str = "", module: Literal[True]
) -> "torch.nn.LSTM": ...


def to_torch(
    weights: Mapping[str, Array], config: LSTMConfig, *, prefix: str = "", module: bool = False
) -> Any:
    """Convert weights to PyTorch's form.

    Parameters
    ----------
    weights : mapping of str to ndarray
        All weights of `config`.
    config : LSTMConfig
        Sizes, biases, ``proj_size`` and ``dropout``; PyTorch lacks all other options.
    prefix : str, default ""
        Prefix of the names: "encoder.lstm" makes "encoder.lstm.weight_ih_l0".
    module : bool, default False
        Whether to return an ``nn.LSTM`` with ``batch_first=True``, which imports PyTorch.

    Returns
    -------
    dict of str to ndarray, or nn.LSTM
        A state dict of new arrays, or the module. Of PyTorch's two biases, ``bias_ih_l0`` is the
        whole bias and ``bias_hh_l0`` is zero.

    Raises
    ------
    ValueError
        If `config` has options that PyTorch lacks, or `weights` are not its weights.
    TypeError
        If weights are not float32 or float64, or not all of one type.
    ImportError
        If `module` is true and PyTorch is not installed.
    """
    arrays = _strict.check_weights(weights, config)
    allowed = ("num_layers", "bidirectional", "dropout", "bias", "proj_size")
    _strict.refuse_options(config, allowed, FORM)
    if _checks.flag(module, "module") and prefix:
        raise ValueError(f"prefix: expected '' for a module, got {prefix!r}")
    state: dict[str, Array] = {}
    for name in _shapes(config):
        if name.startswith("bias_hh"):
            state[name] = np.zeros_like(arrays[name.replace("bias_hh", "bias")])
        else:
            state[name] = arrays[name.replace("bias_ih", "bias")]
    if not module:
        return {_join(prefix, name): array for name, array in state.items()}
    torch = import_torch()
    made = torch.nn.LSTM(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        bias=config.bias,
        batch_first=True,
        dropout=config.dropout,
        bidirectional=config.bidirectional,
        proj_size=config.proj_size,
        dtype=getattr(torch, state["weight_ih_l0"].dtype.name),
    )
    made.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return made


def load_torch(
    target: Layer | Sequential, source: Source, names: str | Mapping[str, str] = ""
) -> None:
    """Copy weights from PyTorch into a built layer, or into all layers of a built model.

    Parameters
    ----------
    target : Layer or Sequential
        One of `LSTM`, `RNN`, `SimpleRNN`, `Bidirectional`, `Dense`, `Embedding`, `Conv1D`,
        `LayerNormalization`, `BatchNormalization`, or `TimeDistributed` of these, or a model of
        such layers and of layers without weights.
    source : module, mapping of str to tensor or ndarray, or path
        See `from_torch`.
    names : str, or mapping of str to str
        For a layer, the prefix of its tensors, or "". For a model, the prefix of each layer that
        has weights, by the layer's name: ``{"lstm": "encoder", "dense": "head"}``.

    Raises
    ------
    ValueError
        If `names` lacks a layer, a layer has weights without a form in PyTorch, or tensors are
        missing, extra or do not fit. The error names all of them, and nothing is written.
    TypeError
        If tensors are not of the layers' type; nothing is written.
    """
    module = _module(source)
    prefixes = names.values() if isinstance(names, Mapping) else [names]
    state = read_state(
        source if module is None else module.state_dict(),
        [prefix for prefix in prefixes if isinstance(prefix, str)],
    )
    if isinstance(target, Sequential):
        dtype = target.parameters.dtype
        layers = _named(target, names)
    else:
        _checks.instance(target, Layer, "target", "a layer or a Sequential")
        _checks.instance(names, str, "names", "a prefix")
        if target.parameters is None:
            raise ValueError("target: the layer has no weights yet; call it or build its model")
        dtype, layers = target.parameters.dtype, {target: str(names)}
        state = {name: entry for name, entry in state.items() if _is_under(name, str(names))}
    places = {layer: places_of(layer) for layer in layers}
    expected: dict[str, tuple[int, ...]] = {}
    for layer, prefix in layers.items():
        for name, shape in ((part, at.shape) for at in places[layer] for part in at.sources):
            full = _join(prefix, name)
            if full in expected:
                raise ValueError(f"names: {full} would be loaded twice")
            expected[full] = shape
    kind = _strict.check("source", expected, state)
    if expected and kind != dtype:
        raise TypeError(f"source: expected {dtype}, the type of the layers, got {kind}")
    for layer, prefix in layers.items():
        values = {
            place.name: place.form.convert(
                [state[_join(prefix, part)].read() for part in place.sources]
            )
            for place in places[layer]
        }
        layer.set_weights([values[name] for name in layer.weights])


def save_torch(
    model: Sequential, path: "str | os.PathLike[str]", names: Mapping[str, str] | None = None
) -> None:
    """Write the weights of a model to a state dict file for PyTorch.

    Parameters
    ----------
    model : Sequential
        A built model of layers that `load_torch` supports.
    path : str or path
        ``.pt`` or ``.pth``; written atomically; an existing file is replaced.
    names : mapping of str to str, optional
        The prefix of each layer that has weights, as in `load_torch`; None: the layers' names.

    Raises
    ------
    ValueError
        If the model is not built, `names` lacks a layer, a layer has weights without a form in
        PyTorch, or `path` has another ending.
    ImportError
        If PyTorch is not installed.

    Notes
    -----
    A state dict holds no code: in PyTorch, create modules with these names and load it into them.
    Of the two biases of a gate, ``bias_ih_l0`` is the whole bias and ``bias_hh_l0`` is zero.
    """
    _checks.instance(model, Sequential, "model", "a Sequential")
    target = as_path(path)
    if target.suffix.lower() not in WRITTEN:
        raise ValueError(f"path: expected {' or '.join(WRITTEN)}, got {target.name!r}")
    weights = model.weights
    warn_of_infinite(weights)
    if names is None:
        names = {str(layer.name): str(layer.name) for layer in model._network if layer.weights}
    state: dict[str, Array] = {}
    for layer, prefix in _named(model, names).items():
        for place in places_of(layer):
            parts = place.form.undo(weights[f"{layer.name}.{place.name}"])
            for part, values in zip(place.sources, parts, strict=True):
                full = _join(prefix, part)
                if full in state:
                    raise ValueError(f"names: {full} would be written twice")
                state[full] = np.array(values, order="C")
    torch = import_torch()
    content = io.BytesIO()
    torch.save({name: torch.from_numpy(values) for name, values in state.items()}, content)
    replace(target, content.getvalue())


def layer_from_torch(module: "torch.nn.Module", *, training: bool = True) -> Layer:
    """Make a layer from a PyTorch module, built if it has weights, with these.

    Parameters
    ----------
    module : nn.Module
        ``nn.LSTM``, ``RNN``, ``Linear``, ``Embedding``, ``Conv1d``, ``LayerNorm`` or
        ``BatchNorm1d``; ``Dropout``, ``Flatten``, or an activation such as ``nn.GELU``.
    training : bool, default True
        Whether options that matter only in training must have a counterpart too. False:
        `padding_idx` and `scale_grad_by_freq` of an ``nn.Embedding``, which affect only gradients,
        are ignored, and so is ``requires_grad=False`` of some parameters. A module none of whose
        parameters requires a gradient becomes a frozen layer.

    Returns
    -------
    Layer
        `LSTM`, `SimpleRNN` or `Bidirectional` with ``return_sequences=True``, `Dense`, `Embedding`,
        `Conv1D`, `LayerNormalization`, `BatchNormalization`, `Dropout`, `Flatten` or `Activation`.
        Arrays here are batch first and features last, even for `Conv1D`, `BatchNormalization` and
        `Flatten`, for which PyTorch has the features second.

    Raises
    ------
    ValueError
        If the module, or one of its options, has no counterpart.
    TypeError
        If it is not a module, or its weights are not float32 or float64.
    """
    _checks.flag(training, "training")
    if _module(module) is None:
        raise TypeError(f"module: expected a PyTorch module, got {_checks.describe(module)}")
    kinds = {entry.dtype for entry in read_state(module.state_dict()).values()}
    layer = build(module, kinds.pop() if len(kinds) == 1 else "float32", training)
    if layer.parameters is not None:
        load_torch(layer, module)
    return layer


def _module(source: Any) -> Any:
    """Return `source` if it is a module, else None; does not import PyTorch."""
    torch = sys.modules.get("torch")
    return source if torch is not None and isinstance(source, torch.nn.Module) else None


def _submodule(module: Any, prefix: str) -> Any:
    try:
        return module.get_submodule(prefix)
    except AttributeError as error:
        raise ValueError(f"prefix: {error}") from error


def _lstm_kind(module: Any) -> str:
    """Return whether a module is an LSTM or an LSTMCell; refuse others."""
    nn = sys.modules["torch"].nn
    for kind in (nn.LSTM, nn.LSTMCell):
        if computes_as(module, kind):
            return str(kind.__name__)
    inner = [name for name, part in module.named_modules() if name and isinstance(part, nn.LSTM)]
    hint = f"; prefix may be {' or '.join(map(repr, inner))}" if inner else ""
    raise ValueError(
        f"source: expected an nn.LSTM or nn.LSTMCell, got {type(module).__name__}{hint}"
    )


def _under(state: dict[str, _strict.Tensor], prefix: str) -> dict[str, _strict.Tensor]:
    """Return the tensors under `prefix`, with the prefix removed from their names."""
    found = {
        name[len(_join(prefix, "")) :]: entry
        for name, entry in state.items()
        if _is_under(name, prefix)
    }
    if not any(re.fullmatch(r"weight_ih(_l0)?", name) for name in found):
        places = [
            name.rpartition(".")[0] for name in state if re.search(r"(^|\.)weight_ih(_l0)?$", name)
        ]
        hint = f"; LSTMs may be at {', '.join(map(repr, places))}" if places else ""
        raise ValueError(f"source: expected an LSTM, got no {_join(prefix, 'weight_ih_l0')}{hint}")
    return found


def _config(found: Mapping[str, _strict.Tensor], prefix: str, dropout: float) -> LSTMConfig:
    """Infer the sizes from the shapes."""
    first, recurrent = found["weight_ih_l0"].shape, found.get("weight_hh_l0")
    if recurrent is None or len(first) != 2 or len(recurrent.shape) != 2:
        raise ValueError(
            f"source: expected matrices {_join(prefix, 'weight_ih_l0')} and weight_hh_l0"
        )
    projection = found.get("weight_hr_l0")
    width = recurrent.shape[1]
    hidden = projection.shape[-1] if projection is not None and projection.shape else width
    if hidden == 0 or first[0] != 4 * hidden:
        gates = {
            hidden: " (an nn.RNN has 1; see layer_from_torch)",
            3 * hidden: " (an nn.GRU has 3)",
        }.get(first[0], "")
        raise ValueError(
            f"source: expected weight_ih_l0 with the rows of 4 gates of {hidden} units, got "
            f"{first[0]} rows{gates}"
        )
    layers = 0
    while f"weight_ih_l{layers}" in found:
        layers += 1
    return LSTMConfig(
        first[1],
        hidden,
        layers,
        bidirectional="weight_ih_l0_reverse" in found,
        dropout=dropout,
        bias=any(name.startswith("bias_") for name in found),
        proj_size=0 if projection is None else width,
    )


def _shapes(config: LSTMConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of an ``nn.LSTM``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in config.parameter_shapes().items():
        halves = ("bias_ih", "bias_hh") if name.startswith("bias") else ("",)
        shapes |= {name.replace("bias", half) if half else name: shape for half in halves}
    return shapes


def _named(model: Sequential, names: Any) -> dict[Layer, str]:
    """Return the prefix of each layer that has weights."""
    _checks.instance(names, Mapping, "names", "a mapping of layers' names to prefixes")
    layers = {str(layer.name): layer for layer in model._network if layer.weight_specs()}
    missing, unknown = sorted(set(layers) - set(names)), sorted(set(names) - set(layers))
    if missing or unknown:
        raise ValueError(
            f"names: expected {', '.join(layers)}, the layers with weights; missing: "
            f"{', '.join(missing) or 'none'}; unknown: {', '.join(map(str, unknown)) or 'none'}"
        )
    for name, prefix in names.items():
        _checks.instance(prefix, str, f"names[{name!r}]", "a prefix")
    return {layer: names[name] for name, layer in layers.items()}


def _join(prefix: str, name: str) -> str:
    return f"{prefix.rstrip('.')}.{name}" if prefix else name


def _is_under(name: str, prefix: str) -> bool:
    return name.startswith(_join(prefix, ""))

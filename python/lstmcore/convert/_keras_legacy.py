"""Rewrite the configurations of Keras 2 as Keras 3 would have written them."""

from collections.abc import Mapping
from typing import Any

from lstmcore.config import Activation

__all__ = ["modern"]

HARD_SIGMOID = Activation("hard_sigmoid", 0.2, 0.5)
"""What Keras 2 means by the name; in Keras 3 the slope is 1/6."""

RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
}
"""Names of classes that some versions of TensorFlow wrote."""

CUDNN = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
"""What a CuDNNLSTM always computes, which its configuration does not say."""

NO_EFFECT = ("batch_input_shape", "implementation", "input_dtype", "input_length")
"""Options that Keras 3 has not, and that do not change results."""


def modern(document: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the configuration of a model as Keras 3 would have written it.

    Parameters
    ----------
    document : mapping
        As the file has it. Files in Keras 2's layout may have been written by Keras 3.
    version : str
        Of the Keras that wrote it.

    Raises
    ------
    ValueError
        If it was written by another Keras than 2 and 3.
    """
    major = version.partition(".")[0]
    if major not in ("2", "3"):
        raise ValueError(
            f"expected a file of Keras 2 or 3, got Keras {version!r}; make the model here and use "
            "load_keras_weights(model, path)"
        )
    result = _plain(document)
    assert isinstance(result, dict)
    return _rewritten(result) if major == "2" else result


def _plain(value: Any) -> Any:
    """Copy JSON with lists instead of the objects that TensorFlow writes for them."""
    if isinstance(value, Mapping):
        if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
            return _plain(value["items"])
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _rewritten(document: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a layer or another object, and those within it."""
    kind, config = str(document["class_name"]), document["config"]
    if kind == "Sequential":
        layers = config if isinstance(config, list) else config["layers"]
        own = {"name": "sequential"} if isinstance(config, list) else config
        config = {"build_input_shape": _input_shape(document), **own, "layers": layers}
    options = {key: _within(entry) for key, entry in config.items() if key not in NO_EFFECT}
    for name in ("activation", "recurrent_activation"):
        if options.get(name) == "hard_sigmoid":
            options[name] = HARD_SIGMOID
    if kind == "InputLayer":
        options.setdefault("batch_shape", config.get("batch_input_shape"))
    elif kind == "CuDNNLSTM":
        kind, options = "LSTM", {**options, **CUDNN}
    elif kind == "Embedding":
        options.pop("sparse", None)  # how gradients are stored
        if str(options.get("dtype")).startswith("int"):  # of the ids
            del options["dtype"]
    result = {**document, "class_name": RENAMED.get(kind, kind), "config": options}
    if "inbound_nodes" in document:
        result["inbound_nodes"] = [_call(node) for node in document["inbound_nodes"]]
    return result


def _within(value: Any) -> Any:
    """Rewrite the objects within an option."""
    if isinstance(value, dict):
        return _rewritten(value) if isinstance(value.get("config"), dict | list) else value
    return [_within(entry) for entry in value] if isinstance(value, list) else value


def _input_shape(document: Mapping[str, Any]) -> Any:
    """Return the shape of a batch of a model or layer; None if it is not declared."""
    config = document["config"]
    layers = config if isinstance(config, list) else config.get("layers")
    if layers is not None:
        return _input_shape(layers[0]) if layers else None
    shape = config.get("batch_input_shape")
    if shape is None and isinstance(config.get("layer"), Mapping):
        shape = _input_shape(config["layer"])
    return None if shape is None else [None, *shape[1:]]


def _call(node: Any) -> Any:
    """Rewrite a call of a layer: [[layer, call, output, arguments], ...], or one of these."""
    if isinstance(node, Mapping):
        return node
    inputs = [node] if node and isinstance(node[0], str) else node
    tensors, arguments = [], {}
    for layer, call, output, *more in inputs:
        history = {"keras_history": [layer, call, output]}
        tensors.append({"class_name": "__keras_tensor__", "config": history})
        for given in more:
            arguments.update(given)
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": arguments}

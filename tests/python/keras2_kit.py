"""Files as Keras 2 laid them out, and its layers in plain NumPy: what the files must predict."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import h5py
import numpy as np

TANH, SIGMOID = np.tanh, lambda z: 1 / (1 + np.exp(-z))
GATES = {"sigmoid": SIGMOID, "hard_sigmoid": lambda z: np.clip(0.2 * z + 0.5, 0, 1)}
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
}

COMMON = {"trainable": True, "dtype": "float64"}


class Made(NamedTuple):
    """A layer: its configuration, its weights by the names in files, and its function."""

    document: dict[str, Any]
    weights: dict[str, np.ndarray]
    run: Callable[[np.ndarray], np.ndarray]

    @property
    def name(self):
        return self.document["config"]["name"]

    def with_options(self, **options):
        document = {**self.document, "config": {**self.document["config"], **options}}
        return self._replace(document=document)

    def inside(self):
        """Name the weights as layers within others were named: without the layer's own name."""
        return {name.partition("/")[2]: value for name, value in self.weights.items()}


def draw(rng, *shape):
    return rng.normal(size=shape) * 0.5


def walk(x, kernel, recurrent, bias, gate, *, sequences, backwards=False):
    """Run an LSTM as Keras' documentation defines it: gates i, f, c, o side by side."""
    h = c = np.zeros((len(x), len(recurrent)))
    outputs = []
    for t in range(x.shape[1])[:: -1 if backwards else 1]:
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = gate(f) * c + gate(i) * TANH(g)
        h = gate(o) * TANH(c)
        outputs.append(h)
    return np.stack(outputs, axis=1) if sequences else h


def lstm(rng, name, units, width, *, gate="hard_sigmoid", sequences=False, backwards=False):
    kernel, recurrent = draw(rng, width, 4 * units), draw(rng, units, 4 * units)
    bias = draw(rng, 4 * units)
    config = {
        **{"name": name, **COMMON},
        **{"return_sequences": sequences, "return_state": False, "go_backwards": backwards},
        **{"stateful": False, "unroll": False, "time_major": False, "units": units},
        **{"activation": "tanh", "recurrent_activation": gate, "use_bias": True},
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
        },
        "recurrent_initializer": {
            "class_name": "Orthogonal",
            "config": {"gain": 1.0, "seed": None},
        },
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}},
        **{"unit_forget_bias": True, "recurrent_regularizer": None, "bias_regularizer": None},
        **{"activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None},
        **{"recurrent_constraint": None, "dropout": 0.1, "recurrent_dropout": 0.2},
        "implementation": 2,
    }
    weights = {
        f"{name}/kernel:0": kernel,
        f"{name}/recurrent_kernel:0": recurrent,
        f"{name}/bias:0": bias,
    }

    def run(x):
        options = {"sequences": sequences, "backwards": backwards}
        return walk(x, kernel, recurrent, bias, GATES[gate], **options)

    return Made({"class_name": "LSTM", "config": config}, weights, run)


def cudnn(rng, name, units, width, *, sequences=False, backwards=False):
    """Make a CuDNNLSTM: cuDNN's own matrices (H, C) row by row, and the biases of both products."""
    usual = lstm(rng, name, units, width, gate="sigmoid", sequences=sequences, backwards=backwards)
    kernel, recurrent, bias = usual.weights.values()

    def stored(matrix):
        gates = np.split(matrix, 4, axis=1)
        return np.concatenate([gate.T.ravel().reshape(gate.shape) for gate in gates], axis=1)

    second = draw(rng, 4 * units)
    values = (stored(kernel), stored(recurrent), np.concatenate([bias - second, second]))
    config = {
        key: value
        for key, value in usual.document["config"].items()
        if not key.endswith("activation")
        and key not in ("use_bias", "unroll", "implementation")
        and "dropout" not in key
    }
    weights = dict(zip(usual.weights, values, strict=True))
    return usual._replace(document={"class_name": "CuDNNLSTM", "config": config}, weights=weights)


def bidirectional(name, ahead, back, **options):
    """Wrap two LSTMs that were made alike, the second one backwards."""
    config = {"name": name, **COMMON, "layer": ahead.document, "merge_mode": "concat", **options}
    sequences = ahead.document["config"]["return_sequences"]

    def run(x):
        other = back.run(x)
        return np.concatenate([ahead.run(x), other[:, ::-1] if sequences else other], axis=-1)

    weights = {
        f"{name}/{which}_{key}": value
        for which, made in (("forward", ahead), ("backward", back))
        for key, value in made.weights.items()
    }
    return Made({"class_name": "Bidirectional", "config": config}, weights, run)


def embedding(rng, name, words, width):
    table = draw(rng, words, width)
    config = {
        **{"name": name, "trainable": True, "dtype": "int32"},
        **{"batch_input_shape": [None, 7], "input_dim": words, "output_dim": width},
        "embeddings_initializer": {"class_name": "RandomUniform", "config": {"minval": -0.05}},
        **{"embeddings_regularizer": None, "activity_regularizer": None},
        **{"embeddings_constraint": None, "mask_zero": False, "input_length": 7},
    }
    document = {"class_name": "Embedding", "config": config}
    return Made(document, {f"{name}/embeddings:0": table}, lambda ids: table[ids])


def dense(rng, name, units, width, activation="linear"):
    kernel, bias = draw(rng, width, units), draw(rng, units)
    config = {"name": name, **COMMON, "units": units, "activation": activation, "use_bias": True}
    weights = {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias}
    document = {"class_name": "Dense", "config": config}
    return Made(document, weights, lambda x: ACTIVATIONS[activation](x @ kernel + bias))


def time_distributed(name, made):
    config = {"name": name, **COMMON, "layer": made.document}
    weights = {f"{name}/{key}": value for key, value in made.inside().items()}
    return Made({"class_name": "TimeDistributed", "config": config}, weights, made.run)


def convolution(rng, name, filters, size, width):
    """Make a Conv1D, which multiplies x[t + k] by kernel[k]."""
    kernel, bias = draw(rng, size, width, filters), draw(rng, filters)
    config = {
        **{"name": name, **COMMON, "filters": filters, "kernel_size": [size], "strides": [1]},
        **{"padding": "valid", "data_format": "channels_last", "dilation_rate": [1]},
        **{"activation": "linear", "use_bias": True},
    }

    def run(x):
        steps = x.shape[1] - size + 1
        return sum(x[:, k : k + steps] @ kernel[k] for k in range(size)) + bias

    weights = {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias}
    return Made({"class_name": "Conv1D", "config": config}, weights, run)


def dropout(name):
    config = {"name": name, **COMMON, "rate": 0.3, "noise_shape": None, "seed": None}
    return Made({"class_name": "Dropout", "config": config}, {}, lambda x: x)


def layer_norm(rng, name, width, axis):
    gamma, beta = draw(rng, width), draw(rng, width)
    config = {"name": name, **COMMON, "axis": axis, "epsilon": 0.001, "center": True, "scale": True}

    def run(x):
        mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 0.001) * gamma + beta

    weights = {f"{name}/gamma:0": gamma, f"{name}/beta:0": beta}
    return Made({"class_name": "LayerNormalization", "config": config}, weights, run)


# ---- models --------------------------------------------------------------------------------------


def run_all(layers):
    def run(x):
        for layer in layers:
            x = layer.run(x)
        return x

    return run


def first_shape(layers, *shape):
    """Let the first layer declare the shape of a batch, as Sequential models do."""
    return [layers[0].with_options(batch_input_shape=[None, *shape]), *layers[1:]]


def listed(layers):
    """List the weights of a model as Keras 2 does where it is a layer: trained ones first."""
    order = sorted(layers, key=lambda made: not made.document["config"].get("trainable", True))
    return {name: value for made in order for name, value in made.weights.items()}


def sequential(name, layers):
    config = {"name": name, "layers": [made.document for made in layers]}
    return Made({"class_name": "Sequential", "config": config}, listed(layers), run_all(layers))


def call(*inputs, **arguments):
    """Describe the call of a layer."""
    return [[[name, 0, 0, arguments] for name in inputs]]


def functional(name, layers, shape):
    """Make a functional model that is a chain."""
    options = {"batch_input_shape": [None, *shape], "dtype": "float64", "sparse": False}
    start = {"class_name": "InputLayer", "config": {"name": f"{name}_input", **options}}
    entries = [{**start, "name": f"{name}_input", "inbound_nodes": []}]
    for made in layers:
        before = entries[-1]["name"]
        entries.append({**made.document, "name": made.name, "inbound_nodes": call(before)})
    config = {
        **{"name": name, "layers": entries, "input_layers": [[f"{name}_input", 0, 0]]},
        "output_layers": [[layers[-1].name, 0, 0]],
    }
    return Made({"class_name": "Model", "config": config}, listed(layers), run_all(layers))


# ---- files ---------------------------------------------------------------------------------------


def write(path, layers, document=None, *, version="2.3.1", chunk=None, backend="tensorflow"):
    """Write the weights of the layers of a model, and its configuration if given."""
    with h5py.File(path, "w") as file:
        root = file
        if document is not None:
            root = file.create_group("model_weights")
            file.attrs["keras_version"] = version
            file.attrs["backend"] = backend
            file.attrs["model_config"] = json.dumps(document).encode()
            file.attrs["training_config"] = b"{}"
        root.attrs["keras_version"] = version.encode()
        root.attrs["backend"] = backend.encode()
        write_list(root, "layer_names", [made.name for made in layers], chunk)
        for made in layers:
            group = root.create_group(made.name)
            write_list(group, "weight_names", list(made.weights), chunk)
            for name, value in made.weights.items():
                group.create_dataset(name, data=value)
    return path


def write_list(group, name, entries, chunk):
    """Write a list as one attribute, or as several if one would be too long."""
    values = [entry.encode() for entry in entries]
    if chunk is None or len(values) <= chunk:
        group.attrs[name] = values
        return
    for number, start in enumerate(range(0, len(values), chunk)):
        group.attrs[f"{name}{number}"] = values[start : start + chunk]


def write_archive(path, document, tensors, version="2.13.1"):
    """Write a `.keras` file: a zip archive with the weights by address."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for address, value in tensors.items():
            file[address] = value
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(document))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path

"""Attributions against Captum's, of PyTorch modules with the same weights."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("captum", reason="Captum is not installed")

import torch
from captum import attr as captum

import lstmcore as lc
from graph_kit import static_model
from lstmcore import explain
from lstmcore.layers import LSTM, Dense, Embedding, Input
from pair_kit import small_model, some_rows, spread

RNG = np.random.default_rng(0)


class Network(torch.nn.Module):
    """The same computation in PyTorch: an embedding if there are ids, an LSTM, the last step."""

    def __init__(self, model):
        super().__init__()
        weights = {name: torch.tensor(value) for name, value in model.weights.items()}
        width, hidden = weights["lstm.weight_ih_l0"].shape[1], weights["lstm.weight_hh_l0"].shape[1]
        self.embedding = None
        if "embedding.embeddings" in weights:
            self.embedding = torch.nn.Embedding.from_pretrained(weights["embedding.embeddings"])
        self.lstm = torch.nn.LSTM(width, hidden, batch_first=True, dtype=torch.float64)
        state = {name: weights[f"lstm.{name}"] for name in ("weight_ih_l0", "weight_hh_l0")}
        bias = weights["lstm.bias_l0"]
        self.lstm.load_state_dict({**state, "bias_ih_l0": bias, "bias_hh_l0": 0 * bias})
        self.kernel, self.bias = weights["dense.kernel"], weights["dense.bias"]
        if self.kernel.shape[0] != hidden:
            self.kernel = self.kernel.T

    def forward(self, x):
        if self.embedding is not None:
            x = self.embedding(x)
        y, _ = self.lstm(x)
        return torch.softmax(y[:, -1] @ self.kernel + self.bias, dim=1)


def pair(*layers):
    model = lc.Sequential([*layers, LSTM(4), Dense(3, activation="softmax")], dtype="float64")
    if not model.built:
        model.build((None, None))
    model.set_weights([RNG.standard_normal(w.shape) for w in model.get_weights()])
    return model, Network(model)


def test_series():
    model, network = pair(Input((None, 2)))
    x = RNG.standard_normal((3, 5, 2))
    tensor = torch.tensor(x)
    np.testing.assert_allclose(network(tensor).numpy(force=True), model.predict(x), atol=1e-12)
    base = torch.full_like(tensor, 0.2)
    theirs = captum.IntegratedGradients(network).attribute(
        tensor, base, target=1, n_steps=20, method="gausslegendre"
    )
    ours = explain.attribute(model, x, target=1, baseline=[0.2, 0.2], steps=20)
    np.testing.assert_allclose([one.values for one in ours], theirs.numpy(force=True), atol=1e-9)
    theirs = captum.InputXGradient(network).attribute(tensor.requires_grad_(), target=1)
    ours = explain.attribute(model, x, target=1, method="gradient_x_input")
    np.testing.assert_allclose([one.values for one in ours], theirs.numpy(force=True), atol=1e-9)


def test_occlusion():
    model, network = pair(Input((None, 2)))
    x = RNG.standard_normal((3, 5, 2))
    theirs = captum.Occlusion(network).attribute(
        torch.tensor(x), sliding_window_shapes=(1, 2), target=2
    )
    ours = explain.attribute(model, x, target=2, method="occlusion")
    # Captum spreads the fall over the channels that are hidden together: the same in each.
    np.testing.assert_allclose(
        [one.values for one in ours], theirs.numpy(force=True)[..., 0], atol=1e-9
    )


def test_token_ids():
    model, network = pair(Embedding(9, 3))
    ids = RNG.integers(0, 9, (4, 6))
    layer = captum.LayerIntegratedGradients(network, network.embedding)
    theirs = layer.attribute(
        torch.tensor(ids),
        target=0,
        n_steps=30,
        method="gausslegendre",
        baselines=torch.zeros_like(torch.tensor(ids)),
    )
    # Captum's baseline is the vector of id 0.
    start = model.weights["embedding.embeddings"][0]
    ours = explain.attribute(model, ids, target=0, baseline=start, steps=30)
    np.testing.assert_allclose(
        [one.values for one in ours], theirs.sum(dim=-1).numpy(force=True), atol=1e-9
    )


# ---- graphs, with two inputs, and pairs ----------------------------------------------------------

CLOSE = {"rtol": 1e-6, "atol": 1e-8}  # Captum has the points of the integral in float32


def tensors(model):
    return {name: torch.tensor(value) for name, value in model.weights.items()}


def drawn(model):
    model.set_weights([RNG.standard_normal(w.shape) for w in model.get_weights()])
    return model


def run(weights, name, x, state=None):
    """Run an LSTM with the weights of a layer; return its outputs and its last state."""
    module = torch.nn.LSTM(
        weights[f"{name}.weight_ih_l0"].shape[1],
        weights[f"{name}.weight_hh_l0"].shape[1],
        batch_first=True,
        dtype=torch.float64,
    )
    bias = weights[f"{name}.bias_l0"]
    state_dict = {key: weights[f"{name}.{key}"] for key in ("weight_ih_l0", "weight_hh_l0")}
    module.load_state_dict({**state_dict, "bias_ih_l0": bias, "bias_hh_l0": 0 * bias})
    return module(x, state)


def dense(weights, name, x):
    return x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]


STATICS = {
    "every step": lambda w, x, s: dense(
        w, "head", run(w, "lstm", torch.cat([x, s[:, None].expand(-1, 5, -1)], 2))[0][:, -1]
    ),
    "first state": lambda w, x, s: dense(
        w,
        "head",
        run(w, "lstm", x, (torch.tanh(dense(w, "dense", s))[None], dense(w, "dense_1", s)[None]))[
            0
        ][:, -1],
    ),
    "before the head": lambda w, x, s: dense(
        w, "head", torch.cat([run(w, "lstm", x)[0][:, -1], s], 1)
    ),
}


@pytest.mark.parametrize("how", STATICS)
def test_graphs_with_two_inputs(how):
    model = drawn(static_model(how))
    weights = tensors(model)
    x = {"sequence": RNG.standard_normal((3, 5, 3)), "static": RNG.standard_normal((3, 2))}
    given = tuple(torch.tensor(values) for values in x.values())

    def network(sequence, static):
        return STATICS[how](weights, sequence, static)

    np.testing.assert_allclose(network(*given).numpy(force=True), model.predict(x), atol=1e-12)
    base = {"static": [0.3, -0.2]}
    theirs = captum.IntegratedGradients(network).attribute(
        given,
        (torch.zeros_like(given[0]), torch.tensor(base["static"]).double().expand(3, 2)),
        target=0,
        n_steps=24,
        method="gausslegendre",
    )
    ours = explain.attribute(model, x, baseline=base, steps=24)
    for name, values in zip(x, theirs, strict=True):
        found = [one.values for one in ours[name]]
        np.testing.assert_allclose(found, values.numpy(force=True), **CLOSE)
    theirs = captum.InputXGradient(network).attribute(
        tuple(values.requires_grad_() for values in given), target=0
    )
    ours = explain.attribute(model, x, method="gradient_x_input")
    for name, values in zip(x, theirs, strict=True):
        found = [one.values for one in ours[name]]
        np.testing.assert_allclose(found, values.numpy(force=True), **CLOSE)


def test_a_graph_of_two_texts_with_one_embedding():
    """Two inputs of ids share an embedding and an LSTM; their states are compared."""
    left, right = (Input((None,), dtype="int64", name=name) for name in ("left", "right"))
    table, reader = Embedding(9, 3, name="embedding"), LSTM(4, name="lstm")
    ends = [reader(table(side)) for side in (left, right)]
    joined = lc.layers.Concatenate()([*ends, lc.layers.Multiply()(ends)])
    model = drawn(
        lc.Model([left, right], Dense(2, "softmax", name="head")(joined), dtype="float64")
    )
    weights = tensors(model)
    ids = {"left": RNG.integers(0, 9, (4, 6)), "right": RNG.integers(0, 9, (4, 3))}

    def network(*vectors):
        one, two = (run(weights, "lstm", x)[0][:, -1] for x in vectors)
        return torch.softmax(dense(weights, "head", torch.cat([one, two, one * two], 1)), 1)

    vectors = tuple(weights["embedding.embeddings"][torch.tensor(side)] for side in ids.values())
    np.testing.assert_allclose(network(*vectors).numpy(force=True), model.predict(ids), atol=1e-12)
    theirs = captum.IntegratedGradients(network).attribute(
        vectors, target=1, n_steps=24, method="gausslegendre"
    )
    ours = explain.attribute(model, ids, target=1, steps=24)
    for name, values in zip(ids, theirs, strict=True):
        found = [one.values for one in ours[name]]
        np.testing.assert_allclose(found, values.sum(dim=-1).numpy(force=True), **CLOSE)


@pytest.mark.parametrize("attention", [None, "multiplicative"])
def test_pairs_of_an_encoder_and_a_decoder(attention):
    model = spread(small_model(attention, dtype="float64"), RNG)
    weights = tensors(model)
    x, y = some_rows(RNG, [4, 4, 4], 1, 7), some_rows(RNG, [3, 3, 3], 3, 6)
    tokens = torch.tensor(np.array(y))
    read = torch.cat([torch.full((3, 1), model.start), tokens], 1)
    wanted = torch.cat([tokens, torch.full((3, 1), model.end)], 1)

    def network(vectors, rows):
        """Return the log-probability of the targets of these rows, the end token included."""
        memory, state = run(weights, "encoder", vectors)
        h, _ = run(weights, "decoder", weights["target_embedding.embeddings"][read[rows]], state)
        if attention is not None:
            keys = memory @ weights["attention.kernel"]
            looks = torch.softmax(h @ keys.transpose(1, 2), dim=-1)
            h = torch.tanh(dense(weights, "combine", torch.cat([looks @ memory, h], 2)))
        logs = torch.log_softmax(dense(weights, "output", h), dim=-1)
        return logs.gather(2, wanted[rows][..., None])[..., 0].sum(dim=1)

    rows = torch.arange(3)
    vectors = weights["source_embedding.embeddings"][torch.tensor(np.array(x))]
    logs = network(vectors, rows).numpy(force=True)
    np.testing.assert_allclose(logs, model.log_probabilities(x, y), rtol=1e-12)
    theirs = captum.IntegratedGradients(network).attribute(
        vectors, additional_forward_args=rows, n_steps=24, method="gausslegendre"
    )
    ours = [one.values for one in explain.attribute(model, x, y, steps=24)]
    np.testing.assert_allclose(ours, theirs.sum(dim=-1).numpy(force=True), **CLOSE)

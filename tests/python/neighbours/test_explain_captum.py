"""Attributions against Captum's, of PyTorch modules with the same weights."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("captum", reason="Captum is not installed")

import torch
from captum import attr as captum

import lstmcore as lc
from lstmcore import explain
from lstmcore.layers import LSTM, Dense, Embedding, Input

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

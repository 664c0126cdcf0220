"""The mixture of generating and copying, and its gradients, are those of PyTorch's autograd."""

import numpy as np
import pytest

from lstmcore.models.encoder_decoder.copying import Copies, Copying

torch = pytest.importorskip("torch")

N, S, T, V, K = 3, 4, 5, 6, 2
WIDTHS = (3, 2, 4)


def log_mixture(scores, joined, weights, kernel, bias, ids, lengths):
    """Compute the logarithm of the final distribution with PyTorch, (N, S, V + K)."""
    p = torch.sigmoid(joined @ kernel + bias)
    p = torch.where(torch.tensor(lengths)[:, None, None] == 0, 1.0, p)
    total = torch.zeros(N, S, V + K, dtype=torch.float64)
    total = total + torch.nn.functional.pad(p * torch.softmax(scores, dim=-1), (0, K))
    places = torch.tensor(ids)[:, None].expand(N, S, T)
    return torch.log(total.scatter_add(2, places, (1 - p) * weights))


def test_the_mixture_and_its_gradients(rng):
    lengths = np.array([5, 0, 3])
    ids = rng.integers(0, V + K, (N, T))
    ids[0] = [2, 7, 2, 6, 7]  # words that repeat, inside and outside the vocabulary
    weights = np.where(np.arange(T) < lengths[:, None], rng.random((N, T)), 0)[:, None]
    weights = np.repeat(weights, S, axis=1) / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-9)
    scores = rng.normal(size=(N, S, V))
    parts = [rng.normal(size=(N, S, width)) for width in WIDTHS]
    copying = Copying()
    copying.gate._build_alone((None, None, sum(WIDTHS)), np.float64)
    kernel, bias = rng.normal(size=(sum(WIDTHS), 1)), rng.normal(size=1)
    copying.gate.set_weights([kernel, bias])

    outputs, context = copying.forward(scores, parts, weights, Copies.of(ids, lengths, K), True)
    joined = np.concatenate(parts, axis=-1)
    leaves = [
        torch.tensor(value, requires_grad=True) for value in (scores, joined, weights, kernel, bias)
    ]
    expected = log_mixture(*leaves, ids, lengths)
    reached = np.isfinite(expected.detach().numpy())  # the others have probability 0
    assert reached.any(axis=-1).all()
    assert not reached.all()
    np.testing.assert_allclose(outputs[reached], expected.detach().numpy()[reached], rtol=1e-12)

    dy = np.where(reached, rng.normal(size=outputs.shape), 0)
    torch.where(torch.tensor(reached), expected * torch.tensor(dy), 0.0).sum().backward()
    dscores, dparts, dweights = copying.backward(context, dy, weights, True)
    gate = copying.gate.parameters
    found = (dscores, dparts, dweights, gate.gradient("kernel"), gate.gradient("bias"))
    valid = np.broadcast_to((np.arange(T) < lengths[:, None])[:, None], dweights.shape)
    for name, got, leaf in zip(
        ("scores", "parts", "weights", "kernel", "bias"), found, leaves, strict=True
    ):
        gradient = np.nan_to_num(leaf.grad.numpy())
        if name == "weights":  # beyond a source's end, nothing is copied
            gradient = np.where(valid, gradient, 0)
        np.testing.assert_allclose(got, gradient, rtol=1e-9, atol=1e-12, err_msg=name)

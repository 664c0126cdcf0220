"""Tagging: the conditional random field against PyTorch's derivatives, spans against seqeval."""

import numpy as np
import pytest

import lstmcore as lc

torch = pytest.importorskip("torch")

N, T, K = 5, 7, 4
LENGTHS = np.array([7, 3, 1, 5, 7])


def torch_loss(transitions, starts, ends, emissions, y):
    """The sum of -log p over all rows, by logsumexp in a plain loop."""
    total = 0
    for row, length in enumerate(LENGTHS):
        tags = y[row, :length]
        score = starts[tags[0]] + ends[tags[-1]] + transitions[tags[:-1], tags[1:]].sum()
        score = score + emissions[row, range(length), tags].sum()
        alpha = starts + emissions[row, 0]
        for t in range(1, length):
            alpha = torch.logsumexp(alpha[:, None] + transitions, dim=0) + emissions[row, t]
        total = total + torch.logsumexp(alpha + ends, dim=0) - score
    return total


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-12), ("float32", 2e-6)])
def test_value_and_gradients(rng, dtype, limit):
    layer = lc.layers.CRF(K, transitions_initializer="random_normal", seed=2)
    emissions = rng.standard_normal((N, T, K)).astype(dtype)
    layer(emissions)
    y = rng.integers(0, K, (N, T))
    scores, lengths, context = layer.forward_logits(emissions, LENGTHS, True, 0)
    value, gradient = lc.losses.CRF().sum_tagged(y, scores, lengths, None, 1.0, True)
    dx = layer.backward(context, gradient)
    tables = [
        torch.tensor(layer.weights[name].astype(np.float64), requires_grad=True)
        for name in ("transitions", "starts", "ends")
    ]
    x = torch.tensor(emissions.astype(np.float64), requires_grad=True)
    theirs = torch_loss(*tables, x, y)
    theirs.backward()
    assert dx.dtype == dtype
    assert value == pytest.approx(theirs.item(), rel=limit)
    np.testing.assert_allclose(dx, x.grad.numpy(), atol=limit)
    for name, table in zip(("transitions", "starts", "ends"), tables, strict=True):
        np.testing.assert_allclose(layer._gradients[name], table.grad.numpy(), atol=5 * limit)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "BILOU", None])
def test_figures_are_those_of_seqeval(scheme, rng):
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import BILOU as Theirs
    from seqeval.scheme import IOB2, IOBES

    letters = {"BIO": "BI", "BILOU": "BILU"}.get(scheme, "BIES")
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "AC")]
    strict = {}
    if scheme is not None:
        strict = {
            "mode": "strict",
            "scheme": {"BIO": IOB2, "BIOES": IOBES, "BILOU": Theirs}[scheme],
        }
    sizes = rng.integers(1, 9, 200)
    true = [[tags[k] for k in rng.integers(0, len(tags), size)] for size in sizes]
    found = [[tag if rng.random() < 0.8 else "O" for tag in row] for row in true]
    for average in ("micro", "macro", "weighted"):
        theirs = seqeval.f1_score(true, found, average=average, **strict)
        assert lc.metrics.span_f1(true, found, scheme=scheme, average=average) == pytest.approx(
            theirs
        )

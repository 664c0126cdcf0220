"""A language model with tied weights against PyTorch's, one step of plain descent."""

import numpy as np
import pytest

import lstmcore as lc

torch = pytest.importorskip("torch", reason="torch is not installed")


def test_tied_weights_learn_as_in_pytorch():
    words = lc.layers.TextVectorization(vocabulary=list("abcde"))
    model = lc.LanguageModel(words, 6, seed=4, dtype="float64")
    size = words.vocabulary_size()
    embedding = torch.nn.Embedding(size, 6, dtype=torch.float64)
    lstm = torch.nn.LSTM(6, 6, batch_first=True, dtype=torch.float64)
    output = torch.nn.Linear(6, size, dtype=torch.float64)
    output.weight = embedding.weight
    own = {name: torch.tensor(value.copy()) for name, value in model.weights.items()}
    with torch.no_grad():
        embedding.weight.copy_(own["embedding.embeddings"])
        lstm.weight_ih_l0.copy_(own["lstm.weight_ih_l0"])
        lstm.weight_hh_l0.copy_(own["lstm.weight_hh_l0"])
        lstm.bias_ih_l0.copy_(own["lstm.bias_l0"])
        lstm.bias_hh_l0.zero_()
        output.bias.copy_(own["output.bias"])
    ids = np.random.default_rng(0).integers(2, size, (3, 9))
    x, y = ids[:, :-1], ids[:, 1:]
    model.compile(lc.optimizers.SGD(0.5))
    loss = model.train_on_batch(x, y)[0]
    logits = output(lstm(embedding(torch.tensor(x)))[0])
    theirs = torch.nn.functional.cross_entropy(
        logits.reshape(-1, size), torch.tensor(y).reshape(-1)
    )
    assert loss == pytest.approx(theirs.item(), rel=1e-12)
    theirs.backward()
    for name, parameter in (
        ("embedding.embeddings", embedding.weight),
        ("lstm.weight_hh_l0", lstm.weight_hh_l0),
        ("output.bias", output.bias),
    ):
        expected = (parameter - 0.5 * parameter.grad).detach().numpy()
        np.testing.assert_allclose(model.weights[name], expected, rtol=1e-11, atol=1e-14)

"""PyTorch's results without PyTorch: golden files, which tests/golden/make_golden.py makes."""

from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = ("one_layer", "two_layers_bidirectional", "ragged", "long")


def load_case(name):
    with np.load(GOLDEN / "lstm.npz") as arrays:
        prefix = f"{name}/"
        return {
            key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)
        }


def error(actual, expected):
    """Return the largest difference, relative to the largest entry."""
    return np.abs(actual - expected).max() / np.abs(expected).max()


# float64: sums of a few dozen terms over 200 steps stay within a thousand rounding errors of
# 1.1e-16. float32: the accuracy that the project promises.
@pytest.mark.parametrize(
    ("dtype", "forward", "backward"), [("float64", 1e-13, 1e-12), ("float32", 2e-6, 1e-5)]
)
@pytest.mark.parametrize("name", CASES)
def test_lstm_reproduces_pytorchs_outputs_and_gradients(name, dtype, forward, backward):
    case = load_case(name)
    lengths = case.pop("lengths", None)
    case = {key: value.astype(dtype) for key, value in case.items()}
    weights = {key: value for key, value in case.items() if key.startswith(("weight", "bias"))}
    config = lc.LSTMConfig(
        case["x"].shape[2],
        case["h0"].shape[2],
        num_layers=sum(key.startswith("bias_l") and "reverse" not in key for key in weights),
        bidirectional="bias_l0_reverse" in weights,
    )
    state = (case["h0"], case["c0"])
    y, (h, c), tape = F.lstm(
        case["x"], weights, config, state=state, lengths=lengths, training=True
    )
    for actual, key in ((y, "y"), (h, "h"), (c, "c")):
        assert error(actual, case[key]) < forward, key

    gradients = F.lstm_backward(tape, case["dy"], (case["dh"], case["dc"]))
    assert error(gradients.x, case["dx"]) < backward
    assert error(gradients.state[0], case["dh0"]) < backward
    assert error(gradients.state[1], case["dc0"]) < backward
    for key in weights:
        assert error(gradients.weights[key], case[f"d{key}"]) < backward, key


def test_ten_adam_steps_reproduce_pytorchs_losses():
    with np.load(GOLDEN / "training.npz") as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    model = lc.Sequential(
        [lc.layers.Embedding(12, 6), lc.layers.LSTM(10), lc.layers.Dense(3, activation="softmax")],
        dtype="float64",
    )
    model.compile(lc.optimizers.Adam(0.02, epsilon=1e-7), "sparse_categorical_crossentropy")
    model.predict(golden["x"])
    model.set_weights(
        [
            golden[name]
            for name in (
                "embedding.embeddings",
                "lstm.weight_ih_l0",
                "lstm.weight_hh_l0",
                "lstm.bias_l0",
                "dense.kernel",
                "dense.bias",
            )
        ]
    )
    losses = [model.train_on_batch(golden["x"], golden["labels"]) for _ in range(10)]
    losses = [loss["loss"] if isinstance(loss, dict) else loss for loss in losses]
    # Adam divides by the root of small second moments, which amplifies differences in the
    # last bits.
    np.testing.assert_allclose(losses, golden["losses"], rtol=1e-9)

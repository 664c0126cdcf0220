"""Write what the tests of the C interface expect: predictions for rows of different lengths.

Usage: python tests/golden/make_predictions.py

An entry of predictions.txt is a line "FILE N T LENGTH ... T' U", then N T' U numbers, which are
zero past a row's valid steps; T' is 1 where the output has no steps. stream_inputs.txt has the
inputs of some steps, a step a line, and stream_steps.txt the outputs of stream_model.safetensors
after each. Also written are the models that only these tests read.
"""

from pathlib import Path

import numpy as np

import lstmcore as lc

FOLDER = Path(__file__).parent
STEPS = 6
LENGTHS = np.array([6, 2, 0, 4, 1])


def example_input(batch: int, steps: int, features: int) -> np.ndarray:
    """Make numbers, exact in binary, in the same way as the C tests."""
    n, t, c = np.ogrid[:batch, :steps, :features]
    return ((5 * n + 7 * t + 3 * c) % 11 / 4 - 1.25).astype(np.float32)


def example_tokens(batch: int, steps: int, vocabulary: int) -> np.ndarray:
    """Make tokens that are not 0, in the same way as the C tests."""
    n, t = np.ogrid[:batch, :steps]
    return 1 + (5 * n + 7 * t) % (vocabulary - 1)


def away_from_zero(model: lc.Sequential) -> lc.Sequential:
    """Make the weights larger, so that errors show."""
    model.set_weights([3 * values for values in model.get_weights()])
    return model


def sides_model() -> lc.Sequential:
    """Both directions, merged in every way, and what else needs all steps."""
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="mul"),
            layers.LSTM(4, go_backwards=True, return_sequences=True),
            layers.LayerNormalization(center=False),
            layers.TimeDistributed(layers.Dense(5, activation="sigmoid")),
            layers.MaxPooling1D(2, strides=1),
            layers.Conv1D(4, 1, activation="tanh"),
            layers.Bidirectional(
                layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)], return_sequences=True),
                merge_mode="ave",
            ),
            layers.Bidirectional(layers.LSTM(3), merge_mode="sum"),
            layers.Dense(3, activation="softmax"),
        ],
        seed=11,
    )
    model.build((None, None, 3))
    return away_from_zero(model)


def tokens_model() -> lc.Sequential:
    """Tokens with padding, and a convolution that shorter rows do not fill."""
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Embedding(7, 4, mask_zero=True),
            layers.Conv1D(6, 2, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(2),
        ],
        seed=12,
    )
    model.build((None, None))
    return away_from_zero(model)


def heads_model() -> lc.Sequential:
    """Additive attention."""
    layers = lc.layers
    model = lc.Sequential([layers.LSTM(4, return_sequences=True), layers.Attention()], seed=13)
    model.build((None, None, 3))
    return away_from_zero(model)


def backwards_model() -> lc.Sequential:
    """The last output of a walk from the end."""
    layers = lc.layers
    model = lc.Sequential(
        [layers.LSTM(4, go_backwards=True, num_layers=2, proj_size=3), layers.Dense(2)], seed=14
    )
    model.build((None, None, 2))
    return away_from_zero(model)


def steps_model() -> lc.Sequential:
    """Every layer that runs step by step."""
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Embedding(9, 4),
            layers.LayerNormalization(),
            layers.Residual(
                [
                    layers.LSTM(6, return_sequences=True, num_layers=2, peephole=True),
                    layers.Dense(5, activation="relu"),
                ],
                projection=True,
            ),
            layers.Residual(layers.LayerNormalization(scale=False)),
            layers.RNN([layers.LSTMCell(4, proj_size=3) for _ in range(2)], return_sequences=True),
            layers.Dropout(0.5),
            layers.Conv1D(3, 1, activation="sigmoid"),
            layers.MaxPooling1D(1),
            layers.TimeDistributed(layers.Dense(2, activation="softmax")),
        ],
        seed=15,
    )
    model.build((None, None))
    return away_from_zero(model)


def entry(file: str) -> str:
    """Return the entry of a model file."""
    model = lc.load(FOLDER / file)
    rows = len(LENGTHS)
    embedding = model.layers[0]
    valid: np.ndarray | None = LENGTHS
    if isinstance(embedding, lc.layers.Embedding):
        x = example_tokens(rows, STEPS, embedding.input_dim)
        x[np.arange(STEPS) >= LENGTHS[:, None]] = 0
        if embedding.mask_zero:
            valid = None  # found where the zeros begin
    else:
        x = example_input(rows, STEPS, model.input_shape[-1])
        x[np.arange(STEPS) >= LENGTHS[:, None]] = 0
    y, lengths, _ = model.forward(x, valid, False, 0, False)
    if y.ndim == 2:
        y = y[:, None]
    elif lengths is not None:
        y[np.arange(y.shape[1]) >= lengths[:, None]] = 0
    numbers = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in y.reshape(rows, -1))
    sizes = " ".join(map(str, (rows, STEPS, *LENGTHS, *y.shape[1:])))
    return f"{file} {sizes}\n{numbers}\n"


def main() -> None:
    """Write everything."""
    made = (sides_model, tokens_model, heads_model, backwards_model, steps_model)
    for make in made:
        make().save(FOLDER / f"{make.__name__}.safetensors")
    names = ("features", "stack", "attention", "stream", "quantized", "frozen")
    files = [f"{name}_model.safetensors" for name in names]
    files += ["catchment.safetensors", *(f"{make.__name__}.safetensors" for make in made)]
    text = "".join(map(entry, files))
    (FOLDER / "predictions.txt").write_text(text, encoding="utf-8")

    stream = lc.load(FOLDER / "stream_model.safetensors")
    x = example_input(1, STEPS, 2)
    y = [stream.predict(x[:, : t + 1], verbose=0)[0] for t in range(STEPS)]
    np.savetxt(FOLDER / "stream_inputs.txt", x[0], fmt="%.9g")
    np.savetxt(FOLDER / "stream_steps.txt", y, fmt="%.9g")


if __name__ == "__main__":
    main()

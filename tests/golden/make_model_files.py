"""Write the model files that the C++ tests read, and the predictions of the models.

Run it again, and commit what it writes, when the format changes.
"""

from pathlib import Path

import numpy as np

import lstmcore as lc

FOLDER = Path(__file__).parent


def example_input(batch: int, steps: int, features: int) -> np.ndarray:
    """Make numbers, exact in binary, in the same way as the C++ tests."""
    n, t, c = np.ogrid[:batch, :steps, :features]
    return ((5 * n + 7 * t + 3 * c) % 11 / 4 - 1.25).astype(np.float32)


def example_ids(batch: int, steps: int) -> np.ndarray:
    """Make tokens in the same way as the C++ tests."""
    n, t = np.ogrid[:batch, :steps]
    return (5 * n + 7 * t) % 11


def features_model() -> lc.Sequential:
    """Every recurrent layer, stacked in every way."""
    model = lc.Sequential(
        [
            lc.layers.Bidirectional(
                lc.layers.LSTM(
                    4, return_sequences=True, num_layers=2, dropout=0.25, share_recurrent=True
                )
            ),
            lc.layers.RNN(
                [lc.layers.LSTMCell(5, forget_bias=2.0), lc.layers.LSTMCell(5)],
                return_sequences=True,
            ),
            lc.layers.LSTM(
                3,
                recurrent_activation=lc.Activation("hard_sigmoid", 0.3, 0.5),
                peephole=True,
                cell_clip=2.0,
                zoneout_c=0.1,
                proj_size=2,
                layer_norm=True,
                recompute="sqrt",
            ),
            lc.layers.Dense(2, activation="tanh"),
        ],
        seed=1,
    )
    model.compile(optimizer="adam", loss="mse")
    x = example_input(8, 5, 3)
    model.fit(x, x.sum(axis=1)[:, :2], epochs=2, verbose=0)
    model.set_weights([3 * values for values in model.get_weights()])  # away from zero
    return model


def text_model() -> lc.Sequential:
    """Every other layer, in float64."""
    model = lc.Sequential(
        [
            lc.layers.TextVectorization(
                standardize="lower_and_strip_punctuation",
                vocabulary=["", "[UNK]", "größe", 'say "hi"', "\\slash"],
            ),
            lc.layers.Embedding(input_dim=5, output_dim=3, mask_zero=True),
            lc.layers.Bidirectional(
                lc.layers.RNN(lc.layers.LSTMCell(2), return_sequences=True), merge_mode="ave"
            ),
            lc.layers.TimeDistributed(lc.layers.Dense(3, activation="relu", use_bias=False)),
            lc.layers.Dropout(0.5),
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dense(2, activation="softmax"),
        ],
        seed=2,
        dtype="float64",
    )
    model.compile(optimizer=lc.optimizers.SGD(momentum=0.9), loss="sparse_categorical_crossentropy")
    model.fit(["größe größe", "unknown"], np.array([0, 1]), epochs=1, verbose=0)
    return model


def stack_model() -> lc.Sequential:
    """Windows over time, then a residual stack."""
    model = lc.Sequential(
        [
            lc.layers.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu"),
            lc.layers.MaxPooling1D(2, padding="same"),
            lc.layers.LayerNormalization(),
            lc.layers.Residual(
                [lc.layers.LSTM(4, return_sequences=True), lc.layers.Dense(6)], projection=True
            ),
            lc.layers.Residual(lc.layers.LSTM(6, return_sequences=True), projection=True),
            lc.layers.GlobalAveragePooling1D(),
            lc.layers.Dense(2),
        ],
        seed=4,
    )
    model.compile(optimizer="adam", loss="mse")
    x = example_input(8, 7, 3)
    model.fit(x, x.sum(axis=1)[:, :2], epochs=2, verbose=0)
    return model


def stream_model() -> lc.Sequential:
    """A small model of the kind that examples/cpp streams through."""
    model = lc.Sequential(
        [lc.layers.LSTM(4, return_sequences=True), lc.layers.LSTM(3), lc.layers.Dense(1)], seed=3
    )
    model.build((None, None, 2))
    return model


def attention_model() -> lc.Sequential:
    """Attention with a learnt query."""
    model = lc.Sequential(
        [
            lc.layers.LSTM(4, return_sequences=True),
            lc.layers.Attention("multiplicative", 3, scale=True),
        ],
        seed=4,
    )
    model.build((None, None, 3))
    model.set_weights([3 * values for values in model.get_weights()])
    return model


def additive_model() -> lc.Sequential:
    """Additive attention, in float64."""
    model = lc.Sequential(
        [lc.layers.LSTM(4, return_sequences=True), lc.layers.Attention()], seed=5, dtype="float64"
    )
    model.build((None, None, 3))
    model.set_weights([3 * values for values in model.get_weights()])
    return model


def frozen_model() -> lc.Sequential:
    """Frozen layers of every kind, whole and in part."""
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Embedding(5, 3, trainable=False),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True, trainable=False)),
            layers.RNN(
                [layers.LSTMCell(3, trainable=False), layers.LSTMCell(3)], return_sequences=True
            ),
            layers.TimeDistributed(layers.Dense(3), trainable=False),
            layers.Residual([layers.Dense(3, trainable=False), layers.Dense(3)]),
            layers.LSTM(2),
            layers.Dense(1),
        ],
        seed=7,
    )
    model.build((None, None))
    return model


def quantized_model() -> lc.Sequential:
    """Matrices of 8 bits in every kind of layer that has one."""
    model = lc.Sequential(
        [
            lc.layers.Embedding(11, 6),
            lc.layers.Conv1D(8, 3, padding="same", activation="tanh"),
            lc.layers.Bidirectional(
                lc.layers.LSTM(6, return_sequences=True, num_layers=2, share_recurrent=True)
            ),
            lc.layers.Residual(
                [lc.layers.LSTM(5, return_sequences=True), lc.layers.Dense(7)], projection=True
            ),
            lc.layers.RNN([lc.layers.LSTMCell(9, proj_size=4, peephole=True) for _ in range(2)]),
            lc.layers.Dense(3),
        ],
        seed=6,
    )
    model.build((None, None))
    model.set_weights([3 * values for values in model.get_weights()])
    return lc.quantize(model)


def awkward_matrix() -> np.ndarray:
    """Make columns that are not easily rounded, in the same way as the C++ tests."""
    k, u = np.ogrid[:30, :27]
    digits = (7919 * k * k + 104729 * k * u + 31 * u) % 65521 - 32760
    values = np.ldexp(digits.astype(np.float32), 11 * np.minimum(u, 23) - 149)
    values[:, 24] = 0
    values[:, 25] = k[:, 0] * 5 - 72.5  # halfway between two multiples of the scale, 1
    values[:, 26] = 1 - k[:, 0] % 2 * 2
    values[7, 25] = 127
    return values


def rounding_model() -> lc.Sequential:
    """The quantized form of an awkward matrix."""
    matrix = awkward_matrix()
    model = lc.Sequential([lc.layers.Dense(matrix.shape[1], use_bias=False)])
    model.build((None, matrix.shape[0]))
    model.set_weights([matrix])
    return lc.quantize(model)


def main() -> None:
    """Write everything."""
    for name, model in (("features", features_model()), ("stack", stack_model())):
        model.save(FOLDER / f"{name}_model.safetensors")
        y = model.predict(example_input(3, 6, 3), verbose=0)
        np.savetxt(
            FOLDER / f"{name}_model.txt",
            y,
            fmt="%.9g",
            header="prediction for example_input(3, 6, 3)",
        )
    model = quantized_model()
    model.save(FOLDER / "quantized_model.safetensors")
    header = "prediction for example_ids(3, 6)"
    y = model.predict(example_ids(3, 6), verbose=0)
    np.savetxt(FOLDER / "quantized_model.txt", y, fmt="%.9g", header=header)
    rounding_model().save(FOLDER / "rounding_model.safetensors")
    text_model().save(FOLDER / "text_model.safetensors")
    stream_model().save(FOLDER / "stream_model.safetensors")
    frozen_model().save(FOLDER / "frozen_model.safetensors")
    for name, model in (("attention", attention_model()), ("additive", additive_model())):
        model.save(FOLDER / f"{name}_model.safetensors")
        x = example_input(3, 6, 3).astype(model.dtype)
        header = "prediction for example_input(3, 6, 3)"
        y = model.predict(x, verbose=0)
        np.savetxt(FOLDER / f"{name}_model.txt", y, fmt="%.9g", header=header)


if __name__ == "__main__":
    main()

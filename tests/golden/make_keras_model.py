"""Write a model file with Keras 3, and the predictions of Keras, for tests without Keras.

To adopt a newer format of Keras' files, run it again and commit what it writes.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

FOLDER = Path(__file__).parent


def main() -> None:
    """Write keras_model.keras and keras_model.npz."""
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(7, 3, mask_zero=True),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True), merge_mode="sum"),
            layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)], return_sequences=True),
            layers.Dropout(0.5),
            layers.LSTM(2, activation="softsign", use_bias=False, recurrent_dropout=0.1),
            layers.Dense(2),
            layers.Activation("softmax"),
        ],
        name="golden",
    )
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) / 2)
    ids = np.array([[1, 2, 3, 4, 5, 6], [6, 5, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]])
    model.save(FOLDER / "keras_model.keras")
    outputs = keras.ops.convert_to_numpy(model(ids))
    np.savez(FOLDER / "keras_model.npz", ids=ids, outputs=outputs)


if __name__ == "__main__":
    main()

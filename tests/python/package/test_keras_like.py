"""A program written for Keras in which only the import is changed."""

import numpy as np

import lstmcore as lc


def sequences_in_order(rng, count, vocab_size=12, steps=10):
    """Make rows with token 3 in one half and token 4 in the other; the class says which is first.

    All rows have the same tokens whatever their class, so only the order matters.
    """
    x = rng.integers(5, vocab_size, (count, steps))
    y = rng.integers(0, 2, count)
    rows, half = np.arange(count), steps // 2
    x[rows, rng.integers(0, half, count)] = np.where(y, 3, 4)
    x[rows, rng.integers(half, steps, count)] = np.where(y, 4, 3)
    return x, y


def test_the_program_learns_order(rng):
    vocab_size, embedding_dim, num_classes = 12, 8, 2
    x_train, y_train = sequences_in_order(rng, 800)
    x_test, y_test = sequences_in_order(rng, 400)

    # fmt: off
    lstm_cell = lc.layers.LSTMCell(units=128)
    lstm_layer = lc.layers.RNN(lstm_cell)
    model = lc.Sequential([
        lc.layers.Embedding(input_dim=vocab_size, output_dim=embedding_dim),
        lstm_layer,
        lc.layers.Dense(units=num_classes, activation='softmax')
    ])
    model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])
    model.fit(x_train, y_train, epochs=10)
    # fmt: on

    loss, accuracy = model.evaluate(x_test, y_test)
    assert accuracy > 0.95
    assert loss < 0.2
    probabilities = model.predict(x_test)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (probabilities.argmax(axis=1) == y_test).mean() == accuracy

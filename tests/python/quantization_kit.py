"""Models with every layer that has matrices, and what their files hold."""

import json

import numpy as np
from safetensors import safe_open

import lstmcore as lc
from lstmcore import layers
from lstmcore.layers import initializers
from lstmcore.layers.parameters import WeightSpec


def initial_forms(shape, random):
    return random.standard_normal(shape)


class Bilinear(layers.Layer):
    """A user's layer: y_u = sum over c, d of x_c x_d form_ucd + shift_u."""

    def __init__(self, units, *, name=None):
        super().__init__(name=name)
        self.units = units

    def build(self, input_shape):
        width = self._accept(input_shape, (2,), "(N, C)")
        self._width = width
        return (input_shape[0], self.units)

    def weight_specs(self):
        shape = (self.units, self._width, self._width)
        return [
            WeightSpec("form", shape, initial_forms, inputs=(1, 2)),
            WeightSpec("shift", (self.units,), initializers.zeros),
        ]

    def forward(self, inputs, lengths, training, seed):
        y = np.einsum("nc,nd,ucd->nu", inputs, inputs, self._weights["form"])
        return (y + self._weights["shift"]).astype(inputs.dtype), None, None


def features_model():
    """Make a model that takes features, with every layer that has matrices, in every wrapper."""
    cells = [layers.LSTMCell(6, proj_size=4), layers.LSTMCell(6, proj_size=4)]
    model = lc.Sequential(
        [
            layers.Conv1D(5, 3, padding="causal"),
            layers.Bidirectional(
                layers.LSTM(4, return_sequences=True, num_layers=2, share_recurrent=True)
            ),
            layers.LayerNormalization(),
            layers.Residual(
                [layers.LSTM(6, return_sequences=True, precision="bf16"), layers.Dropout(0.5)],
                projection=True,
            ),
            layers.TimeDistributed(layers.Dense(7, activation="tanh")),
            layers.RNN(cells, return_sequences=True),
            layers.Attention("additive", 3),
            Bilinear(4),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.build((None, None, 4))
    return model


def text_model():
    model = lc.Sequential(
        [
            layers.TextVectorization(vocabulary=["", "[UNK]", "a", "b", "c"]),
            layers.Embedding(5, 6, mask_zero=True),
            layers.LSTM(5, peephole=True, layer_norm=True, return_sequences=True),
            layers.Dense(2),
        ]
    )
    model.build((None, None))
    return model


def translator():
    return lc.EncoderDecoder(
        7, 9, embedding_size=5, units=6, bidirectional=True, attention="additive", seed=1
    )


PAIRS = ([[3, 4, 5], [6, 2], [3]], [[5, 6], [7, 8, 4, 3], []])


def stored(path):
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["lstmcore"])

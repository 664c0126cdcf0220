"""Networks of captures: played by the equations, and written in each format."""

import numpy as np

RNG = np.random.default_rng(5)
# The member of each format that has the number of samples a second.
RATES = {"nam": "sample_rate", "rtneural": "samplerate", "state_dict": "samplerate"}
X = RNG.uniform(-0.9, 0.9, size=300).astype(np.float32)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


class Network:
    """A stack of LSTMs and a linear output, by the equations."""

    def __init__(self, layers=1, units=6, inputs=1, stored_state=False):
        widths = [inputs] + [units] * layers
        self.units = units
        self.inputs = inputs
        self.cells = [
            {
                "w": RNG.normal(scale=0.4, size=(4 * units, width)).astype(np.float32),
                "u": RNG.normal(scale=0.4, size=(4 * units, units)).astype(np.float32),
                "b": RNG.normal(scale=0.4, size=4 * units).astype(np.float32),
                "h": (RNG.normal(size=units) * stored_state).astype(np.float32),
                "c": (RNG.normal(size=units) * stored_state).astype(np.float32),
            }
            for width in widths[:-1]
        ]
        self.head = RNG.normal(size=units).astype(np.float32)
        self.head_bias = np.float32(0.125)

    def play(self, x, *controls, skip=0, gains=(1.0, 1.0)):
        """Return the output in float64."""
        cells = [{name: part.astype(np.float64) for name, part in c.items()} for c in self.cells]
        y = []
        for sample in x.astype(np.float64):
            dry = gains[0] * sample
            values = np.array([dry, *controls])
            for cell in cells:
                i, f, g, o = np.split(cell["w"] @ values + cell["u"] @ cell["h"] + cell["b"], 4)
                cell["c"] = sigmoid(f) * cell["c"] + sigmoid(i) * np.tanh(g)
                values = cell["h"] = sigmoid(o) * np.tanh(cell["c"])
            y.append(gains[1] * (self.head @ values + self.head_bias + skip * dry))
        return np.array(y)

    def nam(self):
        parts = []
        for cell in self.cells:
            matrix = np.concatenate([cell["w"], cell["u"]], axis=1)
            parts += [matrix.ravel(), cell["b"], cell["h"], cell["c"]]
        weights = np.concatenate([*parts, self.head, [self.head_bias]])
        return {
            "version": "0.5.4",
            "metadata": {"name": "Röhre", "loudness": -20.5, "input_level_dbu": None},
            "architecture": "LSTM",
            "config": {
                "input_size": self.inputs,
                "hidden_size": self.units,
                "num_layers": len(self.cells),
            },
            "weights": weights.tolist(),
            "sample_rate": 48000,
        }

    def rtneural(self, skip=0, decibels=(0.0, 0.0)):
        lstms = [
            {
                "type": "lstm",
                "activation": "tanh",
                "shape": [None, None, self.units],
                "weights": [cell["w"].T.tolist(), cell["u"].T.tolist(), cell["b"].tolist()],
            }
            for cell in self.cells
        ]
        dense = {
            "type": "dense",
            "activation": "",
            "shape": [None, None, 1],
            "weights": [self.head[:, None].tolist(), [float(self.head_bias)]],
        }
        return {
            "in_shape": [None, None, self.inputs],
            "in_skip": skip,
            "in_gain": decibels[0],
            "out_gain": decibels[1],
            "samplerate": 44100,
            "layers": [*lstms, dense],
        }

    def state_dict(self, skip=1, split=0.25):
        tensors = {}
        for index, cell in enumerate(self.cells):
            tensors[f"rec.weight_ih_l{index}"] = cell["w"].tolist()
            tensors[f"rec.weight_hh_l{index}"] = cell["u"].tolist()
            tensors[f"rec.bias_ih_l{index}"] = (split * cell["b"]).tolist()
            tensors[f"rec.bias_hh_l{index}"] = ((1 - split) * cell["b"]).tolist()
        tensors |= {"lin.weight": [self.head.tolist()], "lin.bias": [float(self.head_bias)]}
        data = {
            "model": "SimpleRNN",
            "unit_type": "LSTM",
            "input_size": self.inputs,
            "hidden_size": self.units,
            "num_layers": len(self.cells),
            "output_size": 1,
            "skip": skip,
        }
        return {"model_data": data, "state_dict": tensors}

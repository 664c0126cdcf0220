"""A capture that is written as GuitarML's trainers write it plays what PyTorch plays."""

import json

import numpy as np
import pytest

from lstmcore.convert import load_capture

torch = pytest.importorskip("torch")


class SimpleRNN(torch.nn.Module):
    """An LSTM, a linear output, and the sample added to it."""

    def __init__(self, inputs, units, layers):
        super().__init__()
        self.rec = torch.nn.LSTM(inputs, units, layers, batch_first=True)
        self.lin = torch.nn.Linear(units, 1)

    def forward(self, x):
        return self.lin(self.rec(x)[0]) + x[..., :1]


@pytest.mark.parametrize(("inputs", "units", "layers"), [(1, 20, 1), (1, 8, 2), (3, 16, 1)])
def test_same_sound(tmp_path, inputs, units, layers):
    torch.manual_seed(units)
    module = SimpleRNN(inputs, units, layers)
    description = {
        "model": "SimpleRNN",
        "unit_type": "LSTM",
        "input_size": inputs,
        "hidden_size": units,
        "num_layers": layers,
        "output_size": 1,
        "skip": 1,
    }
    document = {
        "model_data": description,
        "state_dict": {name: part.tolist() for name, part in module.state_dict().items()},
    }
    (tmp_path / "pedal.json").write_text(json.dumps(document))
    capture = load_capture(tmp_path / "pedal.json")
    x = np.random.default_rng(0).uniform(-1, 1, size=500).astype(np.float32)
    knobs = [0.25, 0.75][: inputs - 1]
    with torch.no_grad():
        sequence = np.stack([x, *(np.full_like(x, knob) for knob in knobs)], axis=-1)
        expected = module(torch.from_numpy(sequence)[None])[0, :, 0].numpy()
    np.testing.assert_allclose(capture.play(x, *knobs), expected, rtol=0, atol=2e-6)

"""The example that turns weights of NeuralHydrology's CudaLSTM into a model of one catchment."""

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402

EXAMPLE = Path(__file__).parents[3] / "examples" / "python" / "catchment.py"

pytestmark = pytest.mark.skipif(
    not EXAMPLE.exists(), reason="the examples are only in the source tree"
)

WEATHER, ATTRIBUTES = 3, 5


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


class Net(torch.nn.Module):
    """Linear layers with an activation and dropout after each but the last."""

    def __init__(self, sizes, activation):
        super().__init__()
        parts = []
        for place, (before, after) in enumerate(itertools.pairwise(sizes)):
            parts += [activation, torch.nn.Dropout(0.1)] if place else []
            parts.append(torch.nn.Linear(before, after))
        self.net = torch.nn.Sequential(*parts)

    def forward(self, x):
        return self.net(x)


class CudaLSTM(torch.nn.Module):
    """A module with the names and the computation of NeuralHydrology's."""

    def __init__(self, dynamic, static, activation):
        super().__init__()
        self.embedding_net = torch.nn.Module()
        nets = [Net([WEATHER, *dynamic], activation)] if dynamic else [torch.nn.Identity()]
        self.embedding_net.dynamics_embeddings = torch.nn.ModuleList(nets)
        self.embedding_net.statics_embedding = (
            Net([ATTRIBUTES, *static], activation) if static else torch.nn.Identity()
        )
        widths = [(dynamic or [WEATHER])[-1], (static or [ATTRIBUTES])[-1]]
        self.lstm = torch.nn.LSTM(sum(widths), 8)
        self.lstm.bias_hh_l0.data[8:16] = 3.0
        self.head = torch.nn.Module()
        self.head.net = torch.nn.Sequential(torch.nn.Linear(8, 1))

    def forward(self, weather, attributes):
        """Weather (T, D) and attributes (S,), standardized, to discharge (T, 1)."""
        static = self.embedding_net.statics_embedding(attributes).repeat(len(weather), 1)
        dynamic = self.embedding_net.dynamics_embeddings[0](weather)
        return self.head.net(self.lstm(torch.cat([dynamic, static], dim=1))[0])


@pytest.mark.parametrize("dynamic", [[], [4], [6, 5, 4]], ids=["raw", "one layer", "three layers"])
@pytest.mark.parametrize("static", [[], [2], [6, 2]], ids=["raw", "one layer", "two layers"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_model_of_a_catchment_computes_what_the_module_does(
    example, dynamic, static, activation, tmp_path
):
    torch.manual_seed(0)
    kind = torch.nn.Tanh() if activation == "tanh" else torch.nn.Sigmoid()
    module = CudaLSTM(dynamic, static, kind).eval()
    random = np.random.default_rng(0)
    scales = example["Scales"](
        np.array([[3.0, 8.0, 2.0], [7.0, 9.0, 1.5]]),
        np.stack([random.uniform(-5, 5, ATTRIBUTES), random.uniform(0.5, 50, ATTRIBUTES)]),
        np.array([[1.7], [2.6]]),
    )
    weather = random.normal(scales.weather[0], scales.weather[1], (40, WEATHER))
    attributes = random.normal(scales.attributes[0], scales.attributes[1])
    standard = [
        torch.tensor((values - scale[0]) / scale[1], dtype=torch.float32)
        for values, scale in ((weather, scales.weather), (attributes, scales.attributes))
    ]
    with torch.no_grad():
        expected = module(*standard).numpy() * scales.discharge[1] + scales.discharge[0]
    path = tmp_path / "model_epoch030.pt"
    torch.save(module.state_dict(), path)
    state = torch.load(path, weights_only=True)
    model = example["catchment_model"](state, attributes, scales, activation)
    found = model.predict(weather[None], verbose=0)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)  # float32, of the size of 2
    assert model.weights["lstm.weight_ih_l0"].shape[1] == (dynamic or [WEATHER])[-1]


def test_the_names_of_cudalstm_need_no_change():
    """The parts of its state dict are found by prefixes."""
    torch.manual_seed(0)
    module = CudaLSTM([], [], torch.nn.Tanh()).eval()
    state = module.state_dict()
    assert {"lstm.weight_ih_l0", "head.net.0.weight"} <= set(state)
    weights, config = lc.convert.from_torch(state, prefix="lstm")
    assert (config.input_size, config.hidden_size) == (WEATHER + ATTRIBUTES, 8)
    inputs = torch.randn(40, WEATHER + ATTRIBUTES)
    with torch.no_grad():
        hidden = module.lstm(inputs)[0]
        expected = module.head.net(hidden)
    y, _ = lc.functional.lstm(inputs.numpy()[None], weights, config)
    np.testing.assert_allclose(y[0], hidden, atol=1e-6)
    lstm = lc.layers.LSTM(8, return_sequences=True, name="lstm")
    head = lc.layers.Dense(1, name="head")
    model = lc.Sequential([lc.layers.Input((None, WEATHER + ATTRIBUTES)), lstm, head])
    lc.convert.load_torch(model, state, {"lstm": "lstm", "head": "head.net.0"})
    found = model.predict(inputs.numpy()[None], verbose=0)[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)

"""Every variant of the cell: against the reference and finite differences, in layers and files."""

import numpy as np
import pytest

import lstmcore as lc
import reference
from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig
from lstmcore.models.model_file import read
from reference import derivative, random_case, relative_error

ACTIVATIONS = [
    "sigmoid",
    "tanh",
    "relu",
    Activation("leaky_relu", 0.1),
    Activation("elu", 0.7),
    Activation("hard_sigmoid", 0.3, 0.4),
    "softsign",
    "softplus",
    Activation("affine", 0.4, 0.3),
    Activation("scaled_tanh", 1.3, 0.6),
    Activation("thresholded_relu", 0.2),
    "fast_sigmoid",
    "fast_tanh",
    "linear",
]

VARIANTS = {
    "no bias": {"bias": False},
    "peephole": {"peephole": True},
    "coupled gates": {"coupled_gates": True},
    "projection": {"proj_size": 3},
    "projection, clip, peephole, dropout": {
        "proj_size": 2,
        "proj_clip": 0.3,
        "peephole": True,
        "zoneout_c": 0.2,
        "weight_dropout": 0.2,
    },
    "projection, zoneout of h, recurrent dropout": {
        "proj_size": 3,
        "proj_clip": 0.6,
        "zoneout_h": 0.3,
        "recurrent_dropout": 0.3,
    },
    "fast": {
        "gate_activation": "fast_sigmoid",
        "cell_activation": "fast_tanh",
        "output_activation": "fast_tanh",
    },
    "layer norms": {"layer_norm": True, "layer_norm_epsilon": 0.05},
    "layer norms, no bias, projection, weight dropout": {
        "layer_norm": True,
        "layer_norm_epsilon": 0.05,
        "bias": False,
        "proj_size": 3,
        "weight_dropout": 0.2,
    },
    "layer norms, coupled gates, peephole, zoneout": {
        "layer_norm": True,
        "layer_norm_epsilon": 0.1,
        "coupled_gates": True,
        "peephole": True,
        "zoneout_h": 0.3,
        "zoneout_c": 0.3,
        "recurrent_dropout": 0.3,
    },
    "clip of c": {"cell_clip": 0.45},
    "clip of the activations' inputs": {"gate_clip": 0.6},
    "zoneout of h": {"zoneout_h": 0.3},
    "zoneout of c": {"zoneout_c": 0.4},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "input dropout": {"input_dropout": 0.4},
    "dropout of the recurrent weights": {"weight_dropout": 0.4},
    "dropout": {"dropout": 0.3},
    "everything": {
        "peephole": True,
        "coupled_gates": True,
        "cell_clip": 0.7,
        "gate_clip": 1.1,
        "zoneout_h": 0.2,
        "zoneout_c": 0.1,
        "recurrent_dropout": 0.25,
        "input_dropout": 0.25,
        "weight_dropout": 0.25,
        "dropout": 0.25,
        "gate_activation": Activation("hard_sigmoid", 0.2, 0.5),
        "cell_activation": "softsign",
        "output_activation": Activation("elu", 0.7),
    },
} | {
    f"{role} {activation if isinstance(activation, str) else activation.name}": {
        f"{role}_activation": activation
    }
    for role in ("gate", "cell", "output")
    for activation in ACTIVATIONS
}


def make(name):
    config = LSTMConfig(3, 5, num_layers=2, bidirectional=True, **VARIANTS[name])
    x, weights, arguments = random_case(
        config, 4, 5, np.float64, seed=2, ragged=True, state=True, resets=True
    )
    return config, x, weights, arguments


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_forward_matches_the_equations(name, training):
    config, x, weights, arguments = make(name)
    y, state, *_ = F.lstm(x, weights, config, **arguments, training=training, seed=7)
    masks = F.lstm_masks(config, len(x), x.shape[1], seed=7) if training else None
    h0, c0 = arguments["state"]
    expected = reference.lstm(
        x, weights, config, h0, c0, arguments["lengths"], arguments["reset"], masks
    )
    for result, wanted in zip((y, *state), expected, strict=True):
        # Gates above 1 amplify rounding from step to step, as division by a small deviation does.
        amplifies = name.startswith(("gate", "layer norms"))
        assert relative_error(result, wanted) < (1e-12 if amplifies else 1e-14)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_match_finite_differences(name):
    config, x, weights, arguments = make(name)
    arguments |= {"training": True, "seed": 3}
    y, state, tape = F.lstm(x, weights, config, **arguments)
    random = np.random.default_rng(1)
    dy, dh, dc = (random.normal(size=array.shape) for array in (y, *state))
    gradients = F.lstm_backward(tape, dy, (dh, dc))

    def loss():
        y, (h, c), _ = F.lstm(x, weights, config, **arguments)
        return float((y * dy).sum() + (h * dh).sum() + (c * dc).sum())

    # The gradients of the cheaper activations are those of the functions that they approximate.
    allowed = 2e-4 if "fast" in name else 1e-7

    # A width small enough not to cross a kink or a clip, at the cost of rounding.
    def difference(array):
        return derivative(loss, array, 1e-5)

    assert relative_error(gradients.x, difference(x)) < allowed
    for key, weight in weights.items():
        assert relative_error(gradients.weights[key], difference(weight)) < allowed, key
    for result, initial in zip(gradients.state, arguments["state"], strict=True):
        assert relative_error(result, difference(initial)) < allowed


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("recompute", [1, 2, "sqrt"])
def test_recomputed_gradients_have_the_same_bits(name, recompute):
    config, x, weights, arguments = make(name)
    results = {}
    for how in (None, recompute):
        options = {**arguments, "training": True, "seed": 3, "recompute": how}
        y, state, tape = F.lstm(x, weights, config, **options)
        gradients = F.lstm_backward(tape, np.cos(y), (np.sin(state.h), state.c))
        results[how] = [y, *state, gradients.x, *gradients.state, *gradients.weights.values()]
    for result, expected in zip(results[recompute], results[None], strict=True):
        assert np.array_equal(result, expected)


def test_recomputation_stores_less():
    config = LSTMConfig(8, 32, num_layers=2)
    weights = F.init_weights(config)
    x = np.zeros((1, 2500, 8), np.float32)
    whole = F.lstm(x, weights, config, training=True)[2].nbytes
    states = F.lstm(x, weights, config, training=True, recompute="sqrt")[2].nbytes
    assert states < whole / 12
    for bad in (0, -1, "linear"):
        with pytest.raises(ValueError, match="recompute: expected"):
            F.lstm(x, weights, config, training=True, recompute=bad)
    with pytest.raises(TypeError, match="recompute: expected an integer"):
        F.lstm(x, weights, config, training=True, recompute=2.5)
    with pytest.raises(ValueError, match="recompute: expected None without training"):
        F.lstm(x, weights, config, recompute=3)


@pytest.mark.parametrize("name", ["everything", "peephole", "gate softplus", "layer norms"])
def test_float32_and_threads(name):
    config, x, weights, arguments = make(name)
    x, *state = (np.float32(array) for array in (x, *arguments["state"]))
    arguments["state"] = tuple(state)
    single = {key: np.float32(weight) for key, weight in weights.items()}
    y, _, tape = F.lstm(x, single, config, **arguments, training=True, seed=1)
    gradients = F.lstm_backward(tape, np.ones_like(y))
    lc.set_num_threads(1)
    alone, _, tape = F.lstm(x, single, config, **arguments, training=True, seed=1)
    assert np.array_equal(alone, y)
    lc.set_num_threads(2)
    double = {key: np.float64(weight) for key, weight in single.items()}
    arguments["state"] = tuple(np.float64(part) for part in arguments["state"])
    y64, _, tape = F.lstm(np.float64(x), double, config, **arguments, training=True, seed=1)
    gradients64 = F.lstm_backward(tape, np.ones_like(y64))
    assert relative_error(np.float64(y), y64) < 2e-6
    for key in weights:
        assert relative_error(np.float64(gradients.weights[key]), gradients64.weights[key]) < 1e-5


@pytest.mark.parametrize(
    "name",
    [
        "zoneout of h",
        "zoneout of c",
        "peephole",
        "clip of c",
        "projection",
        "layer norms",
        "layer norms, coupled gates, peephole, zoneout",
        "projection, zoneout of h, recurrent dropout",
    ],
)
def test_stream_has_the_bits_of_the_whole_call(name):
    config = LSTMConfig(3, 19, num_layers=2, **VARIANTS[name])
    x, weights, _ = random_case(config, 2, 9, np.float32, seed=2)
    y, _ = F.lstm(x, weights, config)
    stream = lc.LSTMStream(weights, config, batch_size=2)
    steps = [stream.step(np.ascontiguousarray(x[:, t])).copy() for t in range(9)]
    assert np.array_equal(np.stack(steps, axis=1), y)


def test_masks_have_the_requested_shares():
    config = LSTMConfig(
        40,
        50,
        num_layers=2,
        dropout=0.3,
        input_dropout=0.2,
        recurrent_dropout=0.4,
        zoneout_h=0.1,
        zoneout_c=0.6,
    )
    masks = F.lstm_masks(config, 30, 20, seed=5)
    shapes = {
        "dropout": (1, 30, 20, 50),
        "input_dropout": (30, 40),
        "recurrent_dropout": (2, 30, 50),
        "zoneout_h": (2, 30, 20, 50),
        "zoneout_c": (2, 30, 20, 50),
    }
    assert {name: mask.shape for name, mask in masks.items()} == shapes
    shares = {"dropout": 0.7, "input_dropout": 0.8, "recurrent_dropout": 0.6}
    for name, share in (shares | {"zoneout_h": 0.1, "zoneout_c": 0.6}).items():
        kept = masks[name] != 0
        assert abs(kept.mean() - share) < 5 * np.sqrt(share * (1 - share) / kept.size), name
        factor = 1 / share if name in shares else 1.0
        assert np.all(np.isclose(masks[name][kept], factor)), name
    assert F.lstm_masks(LSTMConfig(2, 2), 3, 4) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zoneout_h": 1.0}, r"zoneout_h: expected a number in \[0, 1\), got 1"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout: expected"),
        ({"cell_clip": -1.0}, "cell_clip: expected a finite number of at least 0"),
        ({"gate_clip": float("inf")}, "gate_clip: expected a finite number"),
        ({"proj_size": 4}, "proj_size: expected 0 to hidden_size, 3, got 4"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon: expected a finite number above 0"),
        ({"proj_clip": 0.1}, "proj_clip: expected 0 without a projection"),
        ({"gate_activation": Activation("sigmoid", 3.0)}, "gate_activation: expected no alpha"),
        ({"gate_activation": Activation("elu", 1.0, 3.0)}, "gate_activation: expected no beta"),
        (
            {"gate_activation": "swish"},
            "gate_activation: expected one of 'sigmoid', 'tanh'.*'swish'",
        ),
        ({"cell_activation": Activation("elu", -1.0)}, "cell_activation: expected an alpha of at"),
        (
            {"output_activation": Activation("scaled_tanh", 0.0)},
            "output_activation: expected an alpha",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        LSTMConfig(2, 3, **options)


def test_a_name_means_the_default_parameters():
    config = LSTMConfig(2, 3, gate_activation=Activation("hard_sigmoid"))
    assert config.gate_activation == Activation("hard_sigmoid", 0.2, 0.5)
    assert config == LSTMConfig(2, 3, gate_activation="hard_sigmoid")
    partly = LSTMConfig(2, 3, gate_activation=Activation("hard_sigmoid", beta=0.4))
    assert partly.gate_activation == Activation("hard_sigmoid", 0.2, 0.4)
    cells = [
        lc.layers.LSTMCell(3, activation="elu"),
        lc.layers.LSTMCell(3, activation=Activation("elu", 1.0, 0.0)),
    ]
    assert lc.layers.RNN(cells).cells == cells


def test_options_that_float32_cannot_hold():
    for options in (
        {"cell_clip": 1e-46},
        {"gate_clip": 1e300},
        {"output_activation": Activation("scaled_tanh", 1e-46, 1.0)},
    ):
        config = LSTMConfig(2, 3, **options)
        F.pack(F.init_weights(config, dtype="float64"), config)
        with pytest.raises(ValueError, match="that the element type of the weights can hold"):
            F.pack(F.init_weights(config), config)


def test_slope_of_softplus_far_below_zero():
    config = LSTMConfig(1, 1, gate_activation="softplus")
    gradients = {}
    for dtype in (np.float32, np.float64):
        weights = {
            name: np.zeros(shape, dtype) for name, shape in config.parameter_shapes().items()
        }
        weights["bias_l0"][:] = [-20.0, 0.0, 1.0, 1.0]
        y, _, tape = F.lstm(np.zeros((1, 1, 1), dtype), weights, config, training=True)
        gradients[dtype] = F.lstm_backward(tape, np.ones_like(y)).weights["bias_l0"]
    np.testing.assert_allclose(gradients[np.float32], gradients[np.float64], rtol=2e-6)


def test_bad_types():
    with pytest.raises(TypeError, match="gate_activation"):
        LSTMConfig(2, 3, gate_activation=3)
    with pytest.raises(TypeError, match="peephole"):
        LSTMConfig(2, 3, peephole=1)
    with pytest.raises(TypeError, match="activation"):
        lc.layers.LSTM(3, activation=1)


def test_step_by_step_training_refuses_dropout_between_layers():
    config = LSTMConfig(2, 3, num_layers=2, dropout=0.5)
    with pytest.raises(ValueError, match="dropout: expected 0 in an LSTM that runs step"):
        F.lstm_begin(F.init_weights(config), config)


@pytest.mark.parametrize(
    "options",
    [
        {"peephole": True, "coupled_gates": True, "cell_clip": 0.8, "proj_size": 4},
        {"layer_norm": True, "proj_size": 4, "zoneout_h": 0.3, "recurrent_dropout": 0.3},
        {
            "input_dropout": 0.3,
            "recurrent_dropout": 0.3,
            "weight_dropout": 0.3,
            "zoneout_h": 0.2,
            "zoneout_c": 0.2,
        },
    ],
)
def test_step_by_step_training_of_variants(options):
    config = LSTMConfig(3, 7, num_layers=2, **options)
    x, weights, _ = random_case(config, 2, 6, np.float64, seed=2)
    y, _, tape = F.lstm(x, weights, config, training=True, seed=9)
    whole = F.lstm_backward(tape, np.ones_like(y))
    tape = F.lstm_begin(weights, config, batch_size=2, seed=9)
    for t in range(6):
        assert np.array_equal(F.lstm_step(tape, x[:, t]), y[:, t])
    steps = F.lstm_backward(tape, np.ones_like(y))
    assert np.array_equal(steps.x, whole.x)
    for key in weights:
        assert np.array_equal(steps.weights[key], whole.weights[key])


def test_layers_train_and_are_restored_from_a_file(tmp_path):
    options = {
        "activation": "softsign",
        "recurrent_activation": lc.Activation("hard_sigmoid", 0.2, 0.5),
        "output_activation": "tanh",
        "peephole": True,
        "cell_clip": 3.0,
        "zoneout_h": 0.1,
        "recurrent_dropout": 0.2,
        "input_dropout": 0.1,
    }
    model = lc.Sequential(
        [
            lc.layers.Bidirectional(lc.layers.LSTM(6, return_sequences=True, **options)),
            lc.layers.Bidirectional(lc.layers.LSTM(6, return_sequences=True, proj_size=2), "sum"),
            lc.layers.LSTM(4, return_sequences=True, layer_norm=True, recompute="sqrt"),
            lc.layers.RNN(lc.layers.LSTMCell(5, use_bias=False, coupled_gates=True), recompute=3),
            lc.layers.Dense(1),
        ],
        seed=3,
    )
    model.compile(optimizer=lc.optimizers.Adam(0.01), loss="mse")
    x = np.random.default_rng(0).normal(size=(64, 7, 3)).astype(np.float32)
    history = model.fit(x, x.mean(axis=(1, 2))[:, None], epochs=8, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = lc.load(path)
    assert np.array_equal(again.predict(x), model.predict(x))
    assert any("peephole_l0_reverse" in name for name in read(path)[0])


def test_an_activation_inside_a_cell_is_not_merged_with_the_loss():
    model = lc.Sequential([lc.layers.LSTM(1, activation="sigmoid")], seed=1)
    model.compile(optimizer="sgd", loss="mse")
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    before = model.predict(x)
    weights = dict(zip(model.layers[0].config.parameter_shapes(), model.get_weights(), strict=True))
    y, _ = F.lstm(x, weights, model.layers[0].config, return_sequences=False)
    assert np.array_equal(before, y)
    model.compile(optimizer="sgd", loss="binary_crossentropy")
    loss = model.evaluate(x, np.ones((4, 1), np.float32), verbose=0)
    assert np.isclose(loss, -np.log(y).mean(), rtol=1e-5)


def test_initial_weights_of_variants():
    config = LSTMConfig(3, 5, peephole=True, proj_size=2, layer_norm=True)
    weights = F.init_weights(config, seed=1, forget_bias=2.5)
    assert {name: weight.shape for name, weight in weights.items()} == config.parameter_shapes()
    np.testing.assert_array_equal(weights["bias_l0"], np.repeat([0, 2.5, 0, 0], 5))
    assert not weights["peephole_l0"].any()
    assert not weights["bias_c_l0"].any()
    assert all((weights[name] == 1).all() for name in ("gain_ih_l0", "gain_hh_l0", "gain_c_l0"))
    assert 0 < abs(weights["weight_hr_l0"]).max() <= np.sqrt(6 / 7)
    np.testing.assert_allclose(
        weights["weight_hh_l0"].T @ weights["weight_hh_l0"], np.eye(2), atol=1e-6
    )
    with pytest.raises(TypeError, match="forget_bias: expected a number"):
        F.init_weights(config, forget_bias="large")

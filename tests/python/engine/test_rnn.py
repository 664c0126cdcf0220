"""The simple RNN: its equations, its gradients, and the promise of the same bits."""

import copy
import itertools
import pickle
from dataclasses import fields

import numpy as np
import pytest

from lstmcore import _core
from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from lstmcore.functional import RNNConfig
from reference import derivative, random_case, relative_error
from reference import rnn as reference_rnn

# Units beside one vector, one panel and several panels of every instruction set.
WIDTHS = (1, 5, 16, 19, 33, 64, 70, 130)

CASES = {
    "one layer": (RNNConfig(3, 4), {}),
    "relu": (RNNConfig(3, 5, activation="relu"), {"state": True}),
    "no bias": (RNNConfig(3, 4, bias=False), {}),
    "more units than a panel": (RNNConfig(2, 71), {"ragged": True}),
    "two layers, ragged": (RNNConfig(3, 5, num_layers=2), {"ragged": True, "state": True}),
    "everything at once": (
        RNNConfig(3, 3, num_layers=2, bidirectional=True, dropout=0.4, recurrent_dropout=0.3),
        {"ragged": True, "state": True, "resets": True},
    ),
    "relu, both directions, dropped input": (
        RNNConfig(4, 6, bidirectional=True, activation="relu", input_dropout=0.4),
        {"ragged": True, "state": True, "resets": True},
    ),
    "backwards": (
        RNNConfig(3, 4, num_layers=2, go_backwards=True),
        {"ragged": True, "state": True, "resets": True},
    ),
}


def draw(config, batch, steps, dtype=np.float64, seed=3, **options):
    """Return x, weights and arguments of a call."""
    x, weights, arguments = random_case(config, batch, steps, dtype, seed=seed, **options)
    if "state" in arguments:
        arguments["state"] = arguments["state"][0]
    return x, weights, arguments


def masks_of(config, batch, steps, seed):
    """Return the masks of a training forward, which are an LSTM's."""
    shared = {one.name for one in fields(LSTMConfig)} - {"bias"}
    values = {one.name: getattr(config, one.name) for one in fields(config) if one.name in shared}
    return F.lstm_masks(LSTMConfig(**values), batch, steps, seed)


def expected(x, weights, config, arguments, masks=None):
    wanted = {name: arguments.get(name) for name in ("lengths", "reset")}
    return reference_rnn(x, weights, config, arguments.get("state"), masks=masks, **wanted)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", WIDTHS)
def test_values_match_the_reference(hidden, activation):
    for batch in (1, 2, 3, 13):
        config = RNNConfig(7, hidden, num_layers=2, bidirectional=True, activation=activation)
        x, weights, arguments = draw(config, batch, 6, state=True, resets=True)
        weights = {name: weight / np.sqrt(hidden) for name, weight in weights.items()}
        y, h = F.rnn(x, weights, config, **arguments)
        for result, wanted in zip((y, h), expected(x, weights, config, arguments), strict=True):
            assert relative_error(result, wanted) < 1e-14  # a few roundings of each sum


@pytest.mark.parametrize("name", CASES)
def test_training_matches_the_reference(name):
    config, options = CASES[name]
    x, weights, arguments = draw(config, 6, 5, **options)
    y, h, _ = F.rnn(x, weights, config, **arguments, training=True, seed=9)
    masks = masks_of(config, 6, 5, 9)
    for result, wanted in zip((y, h), expected(x, weights, config, arguments, masks), strict=True):
        assert relative_error(result, wanted) < 1e-14


@pytest.mark.parametrize("recompute", [None, 2])
@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_gradients_match_finite_differences(name, return_sequences, recompute):
    config, options = CASES[name]
    x, weights, arguments = draw(config, 4, 4, **options)
    arguments |= {"return_sequences": return_sequences, "training": True, "seed": 11}
    arguments["recompute"] = recompute
    y, h, tape = F.rnn(x, weights, config, **arguments)
    random = np.random.default_rng(5)
    dy, dh = random.normal(size=y.shape), random.normal(size=h.shape)
    gradients = F.rnn_backward(tape, dy, dh)

    def loss():
        y, h, _ = F.rnn(x, weights, config, **arguments)
        return float((y * dy).sum() + (h * dh).sum())

    # Differences of a fourth-order scheme are accurate to about 1e-10; relu has no bend nearby,
    # since this seed puts no pre-activation within the width of the differences.
    checked = {"x": (gradients.x, x)}
    if "state" in arguments:
        checked["state"] = (gradients.state, arguments["state"])
    if config.hidden_size < 9:  # every entry takes four forwards
        checked |= {key: (gradients.weights[key], weight) for key, weight in weights.items()}
    for key, (result, values) in checked.items():
        assert relative_error(result, derivative(loss, values)) < 1e-8, key


# ---- the same bits ------------------------------------------------------------------------------

# Small, wide enough for several parts of rows or of units, and a stack that is walked as one.
SAME = {
    "small": (RNNConfig(5, 19, num_layers=2), 30),
    "rows over threads": (RNNConfig(40, 70, num_layers=2, bidirectional=True), 70),
    "units over threads": (RNNConfig(64, 250), 2),
    "units over threads, relu": (RNNConfig(40, 300, num_layers=2, activation="relu"), 5),
    "layers over threads": (RNNConfig(30, 64, num_layers=3), 1),
    "backwards": (RNNConfig(3, 16, num_layers=2, go_backwards=True), 41),
}


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


@pytest.fixture
def threads():
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


def require_same(result, wanted):
    for part, other in zip(result, wanted, strict=True):
        assert np.array_equal(part, other)


def scaled(config, weights):
    return {
        name: weight / weight.dtype.type(config.hidden_size**0.5)
        for name, weight in weights.items()
    }


@pytest.mark.parametrize("name", SAME)
def test_threads_change_no_bit(name, dtype, threads):
    config, batch = SAME[name]
    x, weights, arguments = draw(
        config, batch, 40, dtype, ragged=batch > 1, state=True, resets=True
    )
    weights = scaled(config, weights)
    wanted = None
    for count in (1, 2, 3, 5):
        threads(count)
        y, h, tape = F.rnn(x, weights, config, **arguments, training=True)
        gradients = F.rnn_backward(tape, y, h)
        result = [y, h, *F.rnn(x, weights, config, **arguments)]
        result += [gradients.x, gradients.state, *gradients.weights.values()]
        require_same(result[:2], result[2:4])
        if wanted is not None:
            require_same(result, wanted)
        wanted = result


@pytest.mark.parametrize("name", SAME)
def test_other_rows_and_padding_change_no_bit(name, dtype):
    config, batch = SAME[name]
    x, weights, arguments = draw(config, batch, 9, dtype, state=True, resets=True)
    arguments["lengths"] = np.random.default_rng(1).integers(1, 10, batch)
    packed = F.pack_rnn(scaled(config, weights), config)
    y, h = F.rnn(x, packed, **arguments)
    padded = np.pad(x, ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)
    reset = np.pad(arguments["reset"], ((0, 0), (0, 3)))
    longer = F.rnn(padded, packed, **{**arguments, "reset": reset})
    require_same([longer[0][:, :9], longer[1]], [y, h])
    assert not longer[0][:, 9:].any()
    for rows in ([0], [batch - 1], list(range(batch))[::-1], list(range(min(batch, 7)))):
        some = {"lengths": arguments["lengths"][rows], "reset": arguments["reset"][rows]}
        state = arguments["state"][:, rows]
        require_same(F.rnn(x[rows], packed, state=state, **some), [y[rows], h[:, rows]])


@pytest.mark.parametrize("name", [name for name in SAME if not SAME[name][0].bidirectional])
def test_division_into_calls_changes_no_bit(name, dtype):
    config, batch = SAME[name]
    x, weights, arguments = draw(config, batch, 11, dtype, state=True)
    packed = F.pack_rnn(scaled(config, weights), config)
    y, h = F.rnn(x, packed, **arguments)
    for cuts in ((0, 1, 11), (0, 5, 6, 11), tuple(range(12))):
        spans = [slice(*pair) for pair in itertools.pairwise(cuts)]
        state, parts = arguments["state"], np.empty_like(y)
        for span in spans[::-1] if config.go_backwards else spans:
            parts[:, span], state = F.rnn(x[:, span], packed, state=state)
        require_same([parts, state], [y, h])


@pytest.mark.parametrize("name", SAME)
def test_recomputation_changes_no_bit(name, dtype):
    config, batch = SAME[name]
    x, weights, arguments = draw(
        config, batch, 23, dtype, ragged=batch > 1, state=True, resets=True
    )
    weights = scaled(config, weights)
    wanted = None
    for recompute in (None, 1, 5, "sqrt"):
        y, h, tape = F.rnn(x, weights, config, **arguments, training=True, recompute=recompute)
        gradients = F.rnn_backward(tape, y, h)
        result = [y, h, gradients.x, gradients.state, *gradients.weights.values()]
        if wanted is not None:
            require_same(result, wanted)
        wanted = result


def test_mask_skips_steps(dtype):
    config = RNNConfig(4, 21, num_layers=2, bidirectional=True)
    x, weights, _ = draw(config, 5, 9, dtype)
    mask = np.random.default_rng(2).random((5, 9)) < 0.6
    y, h, tape = F.rnn(
        np.where(mask[..., None], x, np.nan), weights, config, mask=mask, training=True
    )
    gradients = F.rnn_backward(tape, y, h)
    assert not y[~mask].any()
    assert not gradients.x[~mask].any()
    for n, valid in enumerate(mask):
        alone, state, tape = F.rnn(x[n : n + 1, valid], weights, config, training=True)
        require_same([y[n, valid], h[:, n]], [alone[0], state[:, 0]])
        own = F.rnn_backward(tape, alone, state)
        assert np.array_equal(gradients.x[n, valid], own.x[0])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", ["transposed", "time major", "every other"])
def test_strides_change_no_bit(layout, batch, dtype):
    config = RNNConfig(6, 37)
    x, weights, _ = draw(config, batch, 5, dtype)
    wanted = F.rnn(x, weights, config)
    if layout == "transposed":
        weights = {name: np.asfortranarray(weight) for name, weight in weights.items()}
    elif layout == "time major":
        x = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    else:
        x = np.repeat(x, 2, axis=2)[..., ::2]
    require_same(F.rnn(x, weights, config), wanted)


@pytest.mark.parametrize("shape", [(0, 4, 3), (3, 0, 3), (0, 0, 3)])
def test_empty_batches(shape):
    config = RNNConfig(3, 20)
    _, weights, _ = draw(config, 1, 1)
    state = np.ones((1, shape[0], 20))
    y, h, tape = F.rnn(np.zeros(shape), weights, config, state=state, training=True)
    assert y.shape == (*shape[:2], 20)
    assert np.array_equal(h, state)
    gradients = F.rnn_backward(tape, None, 2 * state)
    assert np.array_equal(gradients.state, 2 * state)
    assert not any(gradient.any() for gradient in gradients.weights.values())


# ---- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size: expected at least 1, got 0"),
        ({"activation": "sigmoid"}, ValueError, "activation: expected one of 'tanh', 'relu'"),
        ({"dropout": 1.0}, ValueError, "dropout: expected a number in"),
        ({"recurrent_dropout": -0.1}, ValueError, "recurrent_dropout: expected a number in"),
        ({"input_size": 2.5}, TypeError, "input_size: expected an integer"),
        ({"bidirectional": True, "go_backwards": True}, ValueError, "go_backwards"),
        ({"num_layers": 5000}, ValueError, "num_layers"),
    ],
)
def test_config_refuses(change, error, message):
    with pytest.raises(error, match=message):
        RNNConfig(**{"input_size": 3, "hidden_size": 4, **change})


def test_calls_refuse():
    config = RNNConfig(3, 4)
    x, weights, _ = draw(config, 2, 5)
    y, h, tape = F.rnn(x, weights, config, training=True)
    packed = F.pack_rnn(weights, config)
    wrong = {**weights, "weight_hh_l0": np.zeros((16, 4))}
    single = x.astype(np.float32)
    for call, error, message in (
        (lambda: F.rnn(x, weights), TypeError, "config: expected an RNNConfig alongside"),
        (lambda: F.rnn(x, packed, RNNConfig(3, 5)), ValueError, "config: expected that of the"),
        (lambda: F.rnn(x, wrong, config), ValueError, r"weight_hh_l0.*expected shape .*H=4"),
        (lambda: F.rnn(x, {}, config), ValueError, "expected an array named 'weight_ih_l0'"),
        (lambda: F.rnn(x, weights, LSTMConfig(3, 4)), TypeError, "config: expected an RNNConfig"),
        (lambda: F.rnn(x[..., :2], packed), ValueError, "x: expected shape"),
        (lambda: F.rnn(single, packed), TypeError, "x: expected .*float64"),
        (lambda: F.rnn(x, packed, state=np.zeros((1, 3, 4))), ValueError, "state h: expected"),
        (lambda: F.rnn(x, packed, lengths=[1, 6]), ValueError, "lengths: expected values"),
        (lambda: F.rnn(x, packed, recompute=3), ValueError, "recompute: expected None"),
        (lambda: F.rnn_backward(packed, y), TypeError, "tape: expected an RNNTape"),
        (lambda: F.rnn_backward(tape, y[:, :1]), ValueError, "dy: expected shape"),
        (lambda: F.rnn_backward(tape, y, h[0]), ValueError, "dh: expected shape"),
        (lambda: F.rnn_backward(tape, y, out={}), ValueError, "out: expected an array for weight"),
        (lambda: F.lstm_backward(tape, y), TypeError, "tape: expected an LSTMTape"),
        (lambda: pickle.dumps(packed), TypeError, "PackedRNN cannot be pickled"),
    ):
        with pytest.raises(error, match=message):
            call()
    F.rnn_backward(tape, y)
    with pytest.raises(ValueError, match="tape: expected one whose backward has not run"):
        F.rnn_backward(tape, y)


def test_wanted_gradients_alone():
    config = RNNConfig(3, 4)
    x, weights, arguments = draw(config, 2, 5, state=True)

    def backward(**options):
        y, h, tape = F.rnn(x, weights, config, **arguments, training=True)
        return F.rnn_backward(tape, y, h, **options)

    full = backward()
    some = backward(need_x=False, need_state=False)
    assert some.x is None
    assert some.state is None
    require_same(some.weights.values(), full.weights.values())
    assert backward(need_weights=False).weights == {}
    out = {name: np.full_like(weight, np.nan) for name, weight in weights.items()}
    out["weight_ih_l0"] = None
    backward(out=out)
    assert np.array_equal(out["weight_hh_l0"], full.weights["weight_hh_l0"])


def test_values_of_the_objects():
    config = RNNConfig(3, 4, activation="relu")
    packed = F.pack_rnn(draw(config, 1, 1)[1], config)
    assert repr(config) == "RNNConfig(3, 4, activation='relu')"
    assert repr(packed) == "PackedRNN(RNNConfig(3, 4, activation='relu'), dtype=float64)"
    assert copy.copy(packed) is packed
    assert copy.deepcopy(packed) is packed
    assert pickle.loads(pickle.dumps(config)) == config
    assert packed.dtype == np.float64
    assert config.state_size == 4
    assert config.parameter_shapes() == {
        "weight_ih_l0": (4, 3),
        "weight_hh_l0": (4, 4),
        "bias_l0": (4,),
    }


def test_a_tape_holds_h_and_x_alone():
    config = RNNConfig(8, 32)
    x, weights, _ = draw(config, 4, 100, np.float32)
    *_, tape = F.rnn(x, weights, config, training=True)
    steps = 4 * 100 * 4  # bytes of one float of every step
    assert steps * (8 + 32) <= tape.nbytes < steps * (8 + 32) * 1.1

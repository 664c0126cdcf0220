"""Bad arguments: errors name the argument and the expected and actual values; nothing changes."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lstmcore import _core
from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from lstmcore.cpu import get_num_threads, set_num_threads
from lstmcore.stream import LSTMStream
from reference import random_case

CONFIG = LSTMConfig(3, 4, num_layers=2)
X, WEIGHTS, ARGUMENTS = random_case(CONFIG, 5, 6, np.float32, ragged=True, state=True, resets=True)
H, C = ARGUMENTS["state"]


def with_entry(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


# ---- forward -------------------------------------------------------------------------------------

FORWARD = {
    "x of rank 2": (ValueError, r"x: expected shape \(N, T, C=3\), got \(5, 6\)", {"x": X[..., 0]}),
    "x of rank 4": (ValueError, r"x: .*got \(1, 5, 6, 3\)", {"x": X[None]}),
    "x of rank 0": (ValueError, r"x: .*got \(\)", {"x": np.array(1, np.float32)}),
    "x too wide": (ValueError, r"x: .*C=3\), got \(5, 6, 4\)", {"x": np.ones((5, 6, 4), "f4")}),
    "x of width 1 is not broadcast": (ValueError, r"x: .*got \(5, 6, 1\)", {"x": X[..., :1]}),
    "x without width": (ValueError, r"x: .*got \(5, 6, 0\)", {"x": X[..., :0]}),
    "x float64": (TypeError, "x: .*float32 like the weights, got float64", {"x": X.astype("f8")}),
    "x float16": (TypeError, "x: .*float32.*got float16", {"x": X.astype("f2")}),
    "x integer": (TypeError, "x: .*float32.*got int64", {"x": X.astype("i8")}),
    "x bool": (TypeError, "x: .*float32.*got bool", {"x": X.astype(bool)}),
    "x complex": (TypeError, "x: .*float32.*got complex64", {"x": X.astype("c8")}),
    "x of objects": (TypeError, "x: .*float32.*got object", {"x": X.astype(object)}),
    "x a list": (TypeError, "x: expected an array of float32, got list", {"x": X.tolist()}),
    "x None": (TypeError, "x: expected an array of float32, got None", {"x": None}),
    "h of another batch": (
        ValueError,
        r"state h: expected shape \(layers\*D=2, N=5, H=4\), got \(2, 4, 4\)",
        {"state": (H[:, :4], C)},
    ),
    "c of another width": (ValueError, r"state c: .*got \(2, 5, 3\)", {"state": (H, C[..., :3])}),
    "h of one layer": (ValueError, r"state h: .*got \(1, 5, 4\)", {"state": (H[:1], C[:1])}),
    "h without layers": (ValueError, r"state h: .*got \(5, 4\)", {"state": (H[0], C[0])}),
    "c float64": (TypeError, "state c: .*float32.*got float64", {"state": (H, C.astype("f8"))}),
    "a state of three": (ValueError, "state: expected a pair", {"state": (H, C, C)}),
    "a state of one": (ValueError, "state: expected a pair", {"state": (H,)}),
    "a state that is not a pair": (TypeError, "state: expected a pair .*got int", {"state": 5}),
    "a negative length": (
        ValueError,
        "lengths: .*0 to 6, got -1",
        {"lengths": with_entry(ARGUMENTS["lengths"], 3, -1)},
    ),
    "a length above T": (
        ValueError,
        "lengths: .*0 to 6, got 7",
        {"lengths": with_entry(ARGUMENTS["lengths"], 0, 7)},
    ),
    "a length beyond int64": (ValueError, "lengths", {"lengths": np.full(5, 2**64 - 1, "u8")}),
    "too few lengths": (
        ValueError,
        r"lengths: expected shape \(N=5,\), got \(4,\)",
        {"lengths": [1] * 4},
    ),
    "one length for all": (ValueError, r"lengths: .*got \(\)", {"lengths": np.array(3)}),
    "lengths of rank 2": (
        ValueError,
        r"lengths: .*got \(5, 1\)",
        {"lengths": np.ones((5, 1), int)},
    ),
    "fractional lengths": (TypeError, "lengths: .*integer.*float64", {"lengths": np.ones(5)}),
    "a list of fractions": (TypeError, "lengths: .*integer.*float64", {"lengths": [1.5] * 5}),
    "lengths of bool": (TypeError, "lengths: .*integer.*bool", {"lengths": [True] * 5}),
    "reset of integers": (TypeError, "reset: .*bool.*int64", {"reset": np.zeros((5, 6), int)}),
    "reset of another shape": (
        ValueError,
        r"reset: expected shape \(N=5, T=6\), got \(5, 5\)",
        {"reset": np.zeros((5, 5), bool)},
    ),
    "a negative seed": (ValueError, r"seed: .*2\*\*64 - 1, got -1", {"seed": -1}),
    "a seed above 64 bits": (ValueError, "seed", {"seed": 2**64}),
    "a fractional seed": (TypeError, "seed: expected an integer, got float", {"seed": 1.0}),
    "training a string": (TypeError, "training: expected True or False", {"training": "yes"}),
    "return_sequences None": (TypeError, "return_sequences", {"return_sequences": None}),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", FORWARD)
def test_forward(case, packed):
    error, message, change = FORWARD[case]
    arguments = {"x": X, **ARGUMENTS, **change}
    weights = F.pack(WEIGHTS, CONFIG) if packed else WEIGHTS
    with pytest.raises(error, match=message):
        F.lstm(arguments.pop("x"), weights, CONFIG, **arguments)


def test_sizes_beyond_memory():
    config = LSTMConfig(1, 4)
    weights = F.init_weights(config)

    def huge(batch, steps):
        return np.broadcast_to(np.float32(0), (batch, steps, 1))

    with pytest.raises(ValueError, match="x: expected sizes whose product fits into memory"):
        F.lstm(huge(4, 2**58), weights, config)  # y overflows 64 bits
    with pytest.raises(ValueError, match="x: expected sizes whose product fits into memory"):
        F.lstm(huge(4, 2**56), weights, config, training=True)  # the tape's size overflows them
    with pytest.raises(MemoryError):
        F.lstm(huge(4, 2**56), weights, config)  # fits into 64 bits, but not into memory
    with pytest.raises(ValueError, match="batch_size"):
        LSTMStream(weights, config, batch_size=2**60)


# ---- weights and configuration -------------------------------------------------------------------


def changed(**changes):
    return {**WEIGHTS, **changes}


def without(name):
    return {key: weight for key, weight in WEIGHTS.items() if key != name}


BAD_WEIGHTS = {
    "missing": (ValueError, "weights: .*'bias_l1', got none", without("bias_l1")),
    "first missing": (ValueError, "weights: .*'weight_ih_l0', got none", without("weight_ih_l0")),
    "none": (ValueError, "weights", {}),
    "unknown": (ValueError, "weights: .*'weight_ih_l2'", changed(weight_ih_l2=H)),
    "name that is not a string": (ValueError, "weights: .*'5'", {**WEIGHTS, 5: H}),
    "PyTorch's second bias": (ValueError, "weights: .*'bias_hh_l0'", changed(bias_hh_l0=H)),
    "wrong shape": (
        ValueError,
        r"weights\['weight_hh_l0'\]: expected shape \(4H=16, H=4\), got \(4, 16\)",
        changed(weight_hh_l0=WEIGHTS["weight_hh_l0"].T),
    ),
    "wrong rank": (
        ValueError,
        r"weights\['bias_l0'\]: expected shape \(4H=16,\), got \(1, 16\)",
        changed(bias_l0=WEIGHTS["bias_l0"][None]),
    ),
    "mixed types": (
        TypeError,
        r"weights\['bias_l0'\]: expected dtype float32 like weights\['weight_ih_l0'\], got float64",
        changed(bias_l0=WEIGHTS["bias_l0"].astype("f8")),
    ),
    "integers": (
        TypeError,
        r"weights\['weight_ih_l0'\]: .*float32 or float64, got int64",
        changed(weight_ih_l0=np.zeros((16, 3), int)),
    ),
    "lists": (TypeError, r"weights\['bias_l0'\]: .*got list", changed(bias_l0=[0.0] * 16)),
    "a list of arrays": (TypeError, "weights: expected a mapping", list(WEIGHTS.values())),
    "an array": (TypeError, "weights: expected a mapping", H),
    "nothing": (TypeError, "weights: expected a mapping", None),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights(case):
    error, message, weights = BAD_WEIGHTS[case]
    for use in (F.pack, lambda w, c: F.lstm(X, w, c), LSTMStream):
        with pytest.raises(error, match=message):
            use(weights, CONFIG)


def test_an_error_of_the_mapping_is_passed_on():
    class Broken(dict):
        def __getitem__(self, key):
            raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        F.pack(Broken(WEIGHTS), CONFIG)


def test_config_of_other_weights():
    packed = F.pack(WEIGHTS, CONFIG)
    other = LSTMConfig(3, 4, num_layers=2, dropout=0.5)
    with pytest.raises(ValueError, match="config: expected that of the weights.*dropout=0.5"):
        F.lstm(X, packed, other)
    with pytest.raises(TypeError, match="config"):
        F.lstm(X, WEIGHTS)
    with pytest.raises(TypeError, match="config: expected an LSTMConfig, got dict"):
        F.pack(WEIGHTS, {"input_size": 3})


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "hidden_size: .*got 0", {"hidden_size": 0}),
        (ValueError, "hidden_size: .*got -3", {"hidden_size": -3}),
        (ValueError, "input_size: .*got 0", {"input_size": 0}),
        (ValueError, "num_layers: .*got 0", {"num_layers": 0}),
        (ValueError, "hidden_size", {"hidden_size": 2**40}),
        (ValueError, "hidden_size", {"hidden_size": 2**63}),
        (ValueError, "_size", {"input_size": 2**62, "hidden_size": 2**20}),
        (TypeError, "hidden_size: expected an integer, got float", {"hidden_size": 4.0}),
        (TypeError, "hidden_size: expected an integer, got str", {"hidden_size": "4"}),
        (TypeError, "hidden_size: expected an integer, got bool", {"hidden_size": True}),
        (TypeError, "num_layers: expected an integer, got None", {"num_layers": None}),
        (TypeError, "bidirectional: expected True or False, got int", {"bidirectional": 1}),
        (TypeError, "dropout: expected a number, got str", {"dropout": "0.5"}),
        (TypeError, "dropout: expected a number, got bool", {"dropout": False}),
        (ValueError, "dropout: .*got 1", {"dropout": 1.0}),
        (ValueError, "dropout: .*got -0.1", {"dropout": -0.1}),
        (ValueError, "dropout: .*got nan", {"dropout": float("nan")}),
        (ValueError, "go_backwards", {"bidirectional": True, "go_backwards": True}),
    ],
)
def test_config(error, message, arguments):
    with pytest.raises(error, match=message):
        LSTMConfig(**{"input_size": 3, "hidden_size": 4, **arguments})


@pytest.mark.parametrize("dtype", ["int32", "float16", "complex64", object])
def test_initial_weights_of_another_type(dtype):
    with pytest.raises(ValueError, match="dtype: expected 'float32' or 'float64'"):
        F.init_weights(CONFIG, dtype=dtype)


# ---- backward ------------------------------------------------------------------------------------


def gradient_arrays():
    return {name: np.full_like(weight, 7) for name, weight in WEIGHTS.items()}


def read_only(array):
    array.flags.writeable = False
    return array


Y = np.ones((5, 6, 4), np.float32)
BACKWARD = {
    "dy too narrow": (
        ValueError,
        r"dy: .*\(N=5, T=6, D\*H=4\), got \(5, 6, 3\)",
        {"dy": Y[..., :3]},
    ),
    "dy of the last step": (ValueError, r"dy: .*got \(5, 4\)", {"dy": Y[:, 0]}),
    "dy float64": (TypeError, "dy: .*float32 like the tape, got float64", {"dy": Y.astype("f8")}),
    "dy a list": (TypeError, "dy: .*got list", {"dy": Y.tolist()}),
    "dh of another shape": (ValueError, r"dstate h: .*got \(1, 5, 4\)", {"dstate": (H[:1], None)}),
    "dc float64": (TypeError, "dstate c: .*float64", {"dstate": (H, C.astype("f8"))}),
    "dstate of three": (ValueError, "dstate: expected a pair", {"dstate": (H, C, C)}),
    "need_x a number": (TypeError, "need_x: expected True or False", {"need_x": 1}),
    "out incomplete": (ValueError, "out: .*bias_l1", {"out": without("bias_l1")}),
    "out with an unknown name": (
        ValueError,
        "weights: .*'bias_l2'",
        {"out": {**gradient_arrays(), "bias_l2": np.zeros(16, "f4")}},
    ),
    "out without an unknown name": (
        ValueError,
        "out: .*got 'bias_l2'",
        {"out": {**gradient_arrays(), "bias_l2": None}},
    ),
    "out of another shape": (
        ValueError,
        r"weights\['bias_l1'\]: .*got \(15,\)",
        {"out": {**gradient_arrays(), "bias_l1": np.zeros(15, "f4")}},
    ),
    "out float64": (
        TypeError,
        r"weights\['bias_l1'\]: .*float64",
        {"out": {**gradient_arrays(), "bias_l1": np.zeros(16)}},
    ),
    "out read-only": (
        ValueError,
        r"weights\['bias_l1'\]: .*read-only",
        {"out": {**gradient_arrays(), "bias_l1": read_only(np.zeros(16, "f4"))}},
    ),
    "out not contiguous": (
        ValueError,
        r"weights\['bias_l1'\]: .*contiguous",
        {"out": {**gradient_arrays(), "bias_l1": np.zeros(32, "f4")[::2]}},
    ),
    "out not a mapping": (TypeError, "out: expected a mapping", {"out": [Y]}),
    "out not needed": (ValueError, "out", {"out": gradient_arrays(), "need_weights": False}),
}


@pytest.mark.parametrize("case", BACKWARD)
def test_backward_writes_nothing_and_keeps_the_tape(case):
    error, message, arguments = BACKWARD[case]
    y, state, tape = F.lstm(X, WEIGHTS, CONFIG, **ARGUMENTS, training=True)
    out = arguments.get("out", None)
    given = out.items() if isinstance(out, dict) else ()
    before = {name: array.copy() for name, array in given if array is not None}
    with pytest.raises(error, match=message):
        F.lstm_backward(tape, **{"dy": y, "dstate": state, **arguments})
    for name, array in before.items():
        assert np.array_equal(out[name], array)
    assert tape.ready
    F.lstm_backward(tape, y, state)


def test_backward_of_the_last_output():
    *_, tape = F.lstm(X, WEIGHTS, CONFIG, training=True, return_sequences=False)
    with pytest.raises(ValueError, match=r"dy: expected shape \(5, 4\), got \(5, 6, 4\)"):
        F.lstm_backward(tape, Y)
    with pytest.raises(TypeError, match="dy: .*float32.*float64"):
        F.lstm_backward(tape, Y[:, 0].astype("f8"))
    with pytest.raises(TypeError, match="dy: .*got list"):
        F.lstm_backward(tape, Y[:, 0].tolist())
    with pytest.raises(ValueError, match=r"dstate h: expected shape \(2, 5, 4\)"):
        F.lstm_backward(tape, Y[:, 0], (H[:1], None))
    assert tape.ready


def test_backward_without_a_tape():
    y, _ = F.lstm(X, WEIGHTS, CONFIG)
    with pytest.raises(TypeError, match="tape: expected an LSTMTape, got ndarray"):
        F.lstm_backward(y)
    with pytest.raises(TypeError):
        _core.LstmTape()


# ---- training operations -------------------------------------------------------------------------

F4 = np.ones((4, 3), np.float32)
IDS = np.array([0, 1, 2, 3])
ROW = np.ones(3, np.float32)

OPERATIONS = {
    "id too large": (ValueError, "ids: .*got 4", _core.embedding_forward, (F4, IDS + 1)),
    "id negative": (ValueError, "ids: .*got -1", _core.embedding_forward, (F4, IDS - 1)),
    "ids of bool": (TypeError, "ids", _core.embedding_forward, (F4, IDS > 0)),
    "ids of float": (TypeError, "ids", _core.embedding_forward, (F4, IDS * 1.0)),
    "ids of rank 2": (ValueError, "ids: .*M", _core.embedding_forward, (F4, IDS[None])),
    "table of integers": (TypeError, "table", _core.embedding_forward, (F4.astype(int), IDS)),
    "gradient id too large": (
        ValueError,
        "ids: .*got 4",
        _core.embedding_backward,
        (IDS + 1, F4, np.zeros((4, 3), "f4")),
    ),
    "gradient rows": (ValueError, "dy", _core.embedding_backward, (IDS[:3], F4, F4.copy())),
    "gradient read-only": (
        ValueError,
        "out: .*read-only",
        _core.embedding_backward,
        (IDS, F4, read_only(F4.copy())),
    ),
    "kernel of another width": (
        ValueError,
        r"kernel: expected shape \(C=3, U\), got \(4, 3\)",
        _core.dense_forward,
        (F4, F4, None, "relu"),
    ),
    "kernel float64": (
        TypeError,
        "kernel: .*float32 like x, got float64",
        _core.dense_forward,
        (F4, np.ones((3, 2)), None, "relu"),
    ),
    "bias of another width": (
        ValueError,
        "bias",
        _core.dense_forward,
        (F4, F4[:3], np.ones(2, "f4"), "relu"),
    ),
    "unknown activation": (
        ValueError,
        "activation: .*'swish'",
        _core.dense_forward,
        (F4, F4[:3], None, "swish"),
    ),
    "activation that is not a string": (
        TypeError,
        "activation",
        _core.dense_forward,
        (F4, F4[:3], None, 1),
    ),
    "label too large": (
        ValueError,
        "label.*got 3",
        _core.softmax_cross_entropy,
        (F4, IDS, None, 1.0, True),
    ),
    "label negative": (
        ValueError,
        "label.*got -1",
        _core.softmax_cross_entropy,
        (F4, IDS - 1, None, 1.0, True),
    ),
    "too few labels": (
        ValueError,
        "targets",
        _core.softmax_cross_entropy,
        (F4, IDS[:3], None, 1.0, True),
    ),
    "targets float64": (
        TypeError,
        "targets: .*float32.*float64",
        _core.softmax_cross_entropy,
        (F4, np.ones((4, 3)), None, 1.0, True),
    ),
    "weights of another count": (
        ValueError,
        "weights",
        _core.softmax_cross_entropy,
        (F4, IDS % 3, ROW, 1.0, True),
    ),
    "scale a string": (
        TypeError,
        "scale: expected a number",
        _core.softmax_cross_entropy,
        (F4, IDS % 3, None, "1", True),
    ),
    "target of another shape": (
        ValueError,
        "target",
        _core.mean_squared_error,
        (F4, F4[:3], None, 1.0, True),
    ),
    "rate of one": (ValueError, "rate", _core.dropout, (F4, 1.0, 0)),
    "rate negative": (ValueError, "rate", _core.dropout, (F4, -0.5, 0)),
    "rate nan": (ValueError, "rate", _core.dropout, (F4, float("nan"), 0)),
    "steps negative": (
        ValueError,
        "steps",
        _core.mean_over_time_backward,
        (None, F4, -1),
    ),
    "pooling length too large": (
        ValueError,
        "lengths: .*got 5",
        _core.max_over_time_forward,
        (np.ones((2, 4, 3), "f4"), np.array([5, 1])),
    ),
    "pooling length negative": (
        ValueError,
        "lengths: .*got -1",
        _core.mean_over_time_forward,
        (np.ones((2, 4, 3), "f4"), np.array([1, -1])),
    ),
    "argmax beyond the steps": (
        ValueError,
        "argmax",
        _core.max_over_time_backward,
        (np.full((4, 3), 6), F4, 6),
    ),
    "parameter not contiguous": (
        ValueError,
        "parameter: .*contiguous",
        _core.sgd_step,
        (F4[:, ::2], F4[:, ::2], None, 0.1, 0.0, False),
    ),
    "gradient float64": (
        TypeError,
        "gradient: .*float32.*float64",
        _core.sgd_step,
        (F4.copy(), np.ones((4, 3)), None, 0.1, 0.0, False),
    ),
    "gradient of another shape": (
        ValueError,
        r"gradient: expected shape \(4, 3\), got \(3, 4\)",
        _core.sgd_step,
        (F4.copy(), np.ones((3, 4), "f4"), None, 0.1, 0.0, False),
    ),
    "momentum without velocity": (
        ValueError,
        "velocity",
        _core.sgd_step,
        (F4.copy(), F4, None, 0.1, 0.9, False),
    ),
    "step zero": (
        ValueError,
        "step",
        _core.adam_step,
        (F4.copy(), F4, F4.copy(), F4.copy(), 0, 0.1, 0.9, 0.99, 1e-8, 0.0),
    ),
    "moments of another shape": (
        ValueError,
        "m: ",
        _core.adam_step,
        (F4.copy(), F4, F4[:3].copy(), F4.copy(), 1, 0.1, 0.9, 0.99, 1e-8, 0.0),
    ),
    "values of integers": (TypeError, "values", _core.squared_norm, (IDS,)),
    "values read-only": (ValueError, "values: .*read-only", _core.scale, (read_only(F4 + 0), 2.0)),
    "limit negative": (ValueError, "limit", _core.clip, (F4.copy(), -1.0)),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_operations_change_nothing(case):
    error, message, function, arguments = OPERATIONS[case]
    before = [np.array(argument) for argument in arguments if isinstance(argument, np.ndarray)]
    with pytest.raises(error, match=message):
        function(*arguments)
    now = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    for array, expected in zip(now, before, strict=True):
        assert np.array_equal(array, expected)


# ---- threads and instruction set -----------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, -(2**40)])
def test_thread_count_below_one(count):
    before = get_num_threads()
    with pytest.raises(ValueError, match="expected at least 1|count"):
        set_num_threads(count)
    assert get_num_threads() == before
    with pytest.raises(TypeError, match="count: expected an integer"):
        set_num_threads(2.0)


def test_unknown_instruction_set_fails_at_import():
    result = subprocess.run(
        [sys.executable, "-c", "import lstmcore._core"],
        env={**os.environ, "LSTMCORE_ISA": "avx1024"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert "LSTMCORE_ISA" in result.stderr
    assert "avx1024" in result.stderr


def test_stacks_have_a_limit():
    assert LSTMConfig(3, 4, num_layers=4096).num_layers == 4096
    with pytest.raises(ValueError, match="num_layers"):
        LSTMConfig(3, 4, num_layers=2**40)


@pytest.fixture
def small():
    config = LSTMConfig(3, 4)
    return config, F.init_weights(config), np.ones((2, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([[1], [1, 2]], ValueError, "lengths: expected an array, got rows of different lengths"),
        (np.array([2**64 - 1, 1], np.uint64), ValueError, "lengths: .*got 18446744073709551615"),
        ([2**70, 1], ValueError, "lengths: expected integers of 64 bits"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, "lengths: .* without a mask"),
    ],
)
def test_invalid_lengths_are_named(small, lengths, error, message):
    config, weights, x = small
    with pytest.raises(error, match=message):
        F.lstm(x, weights, config, lengths=lengths)


def test_masked_input_is_refused(small):
    config, weights, x = small
    with pytest.raises(TypeError, match="x: expected an array without a mask"):
        F.lstm(np.ma.masked_array(x, x > 0), weights, config)


def test_invalid_resets_are_named(small):
    config, weights, x = small
    with pytest.raises(ValueError, match="reset: expected an array"):
        F.lstm(x, weights, config, reset=[[True], [True, False]])

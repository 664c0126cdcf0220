"""The engine's functions against the reference, and their promises about arguments."""

import copy
import pickle
import threading

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from lstmcore.memory import tape_bytes
from reference import lstm, random_case, relative_error

# A few hundred rounding errors of 2**-53 or 2**-24, none of them amplified much.
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-6}

CONFIGS = {
    "one unit": LSTMConfig(1, 1),
    "one layer": LSTMConfig(3, 4),
    "units that do not fill a vector": LSTMConfig(5, 7),
    "several vectors of units and a remainder": LSTMConfig(13, 37),
    "wide input": LSTMConfig(67, 5),
    "three layers": LSTMConfig(3, 6, num_layers=3),
    "both directions": LSTMConfig(4, 5, num_layers=2, bidirectional=True),
    "backwards": LSTMConfig(4, 5, num_layers=2, go_backwards=True),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch", [2, 17])  # fewer rows than a tile; several tiles and a remainder
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"state": True},
        {"ragged": True, "state": True},
        {"resets": True, "state": True},
        {"ragged": True, "state": True, "resets": True},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
@pytest.mark.parametrize("name", CONFIGS)
def test_matches_the_reference(name, options, batch, dtype):
    config = CONFIGS[name]
    x, weights, arguments = random_case(config, batch, 9, dtype, **options)
    y, state = F.lstm(x, weights, config, **arguments)
    h0, c0 = arguments.pop("state", (None, None))
    expected = lstm(x, weights, config, h0, c0, **arguments)
    for result, wanted in zip((y, *state), expected, strict=True):
        assert result.dtype == dtype
        assert relative_error(result, wanted) < TOLERANCE[dtype]
    lengths = arguments.get("lengths", [9] * batch)
    for row, length in zip(y, lengths, strict=True):
        assert not row[length:].any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_long_sequence_matches_the_reference(dtype):
    config = LSTMConfig(6, 10, bidirectional=True)
    x, weights, _ = random_case(config, 3, 300, dtype)
    y, state = F.lstm(x, weights, config)
    for result, wanted in zip((y, *state), lstm(x, weights, config), strict=True):
        assert relative_error(result, wanted) < TOLERANCE[dtype]


def everything(dtype=np.float64, batch=6, steps=7):
    config = LSTMConfig(5, 9, num_layers=2, bidirectional=True)
    options = {"ragged": True, "state": True, "resets": True}
    return config, *random_case(config, batch, steps, dtype, **options)


def assert_same(result, expected):
    for part, wanted in zip((result[0], *result[1]), (expected[0], *expected[1]), strict=True):
        assert part.dtype == wanted.dtype
        assert np.array_equal(part, wanted)


# ---- arguments -----------------------------------------------------------------------------------


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    result = memory.view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def every_second(array):
    result = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
    result[...] = array
    return result


def field_of_records(array):
    # 9 or 5 bytes apart: strides that are not multiples of the element size.
    records = np.zeros(array.shape, [("value", array.dtype), ("tag", np.uint8)])
    records["value"] = array
    return records["value"]


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "time-major": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "reversed rows": lambda a: a[::-1].copy()[::-1],
    "reversed last axis": lambda a: a[..., ::-1].copy()[..., ::-1],
    "every second": every_second,
    "misaligned": misaligned,
    "foreign byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "fields of records": field_of_records,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "subclass": lambda a: a.view(type("Subclass", (np.ndarray,), {})),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(layout, dtype):
    config, x, weights, arguments = everything(dtype)
    expected = F.lstm(x, weights, config, **arguments)
    change = LAYOUTS[layout]
    arguments = {
        "state": tuple(change(part) for part in arguments["state"]),
        "lengths": change(arguments["lengths"]) if layout != "time-major" else arguments["lengths"],
        "reset": change(arguments["reset"]),
    }
    changed = {
        name: weight if weight.ndim == 1 and layout == "time-major" else change(weight)
        for name, weight in weights.items()
    }
    assert_same(F.lstm(change(x), changed, config, **arguments), expected)
    *_, tape = F.lstm(change(x), changed, config, **arguments, training=True)
    *_, plain = F.lstm(x, weights, config, **arguments, training=True)
    result, wanted = F.lstm_backward(tape), F.lstm_backward(plain)
    assert np.array_equal(result.x, wanted.x)


def test_broadcast_input():
    config, x, weights, _ = everything()
    same = np.broadcast_to(x[:1, :1], x.shape)
    assert_same(F.lstm(same, weights, config), F.lstm(same.copy(), weights, config))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, ">i8", np.longlong])
def test_lengths_of_any_integer_type(dtype):
    config, x, weights, arguments = everything()
    expected = F.lstm(x, weights, config, **arguments)
    arguments["lengths"] = arguments["lengths"].astype(dtype)
    assert_same(F.lstm(x, weights, config, **arguments), expected)


def test_lists_for_lengths_and_reset():
    config, x, weights, arguments = everything()
    expected = F.lstm(x, weights, config, **arguments)
    arguments["lengths"] = arguments["lengths"].tolist()
    arguments["reset"] = arguments["reset"].tolist()
    assert_same(F.lstm(x, weights, config, **arguments), expected)
    y, _ = F.lstm(x[:0], weights, config, lengths=[])
    assert y.shape == (0, 7, 18)


def test_h_or_c_may_be_absent():
    config, x, weights, arguments = everything()
    h, c = arguments["state"]
    zeros = np.zeros_like(h)
    pairs = [((h, None), (h, zeros)), ((None, c), (zeros, c)), ((None, None), None)]
    for pair, same in pairs:
        assert_same(F.lstm(x, weights, config, state=pair), F.lstm(x, weights, config, state=same))


def test_arguments_are_not_changed():
    config, x, weights, arguments = everything()
    before = copy.deepcopy((x, weights, arguments))
    y, state, tape = F.lstm(x, weights, config, **arguments, training=True)
    F.lstm_backward(tape, y, state)
    for now, then in ((x, before[0]), *zip(weights.values(), before[1].values(), strict=True)):
        assert np.array_equal(now, then)
    for now, then in zip(arguments["state"], before[2]["state"], strict=True):
        assert np.array_equal(now, then)
    for result, initial in zip(state, arguments["state"], strict=True):
        assert not np.shares_memory(result, initial)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_without_sequences_y_is_the_last_layers_final_h(bidirectional):
    config = LSTMConfig(3, 5, num_layers=2, bidirectional=bidirectional)
    x, weights, arguments = random_case(config, 6, 4, np.float64, ragged=True, state=True)
    sequences, expected = F.lstm(x, weights, config, **arguments)
    y, state = F.lstm(x, weights, config, **arguments, return_sequences=False)
    for part, wanted in zip(state, expected, strict=True):
        assert np.array_equal(part, wanted)
    assert y.shape == (6, config.output_size)
    assert not np.shares_memory(y, state.h)
    for n, length in enumerate(arguments["lengths"]):
        last = sequences[n, length - 1] if length else state.h[-1 - bidirectional, n]
        assert np.array_equal(y[n, :5], last[:5])
        if bidirectional:
            first = sequences[n, 0] if length else np.tile(state.h[-1, n], 2)
            assert np.array_equal(y[n, 5:], first[5:])


@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_nothing_to_do(batch, steps, return_sequences):
    config = LSTMConfig(3, 4, num_layers=2, bidirectional=True)
    x, weights, arguments = random_case(config, batch, steps, np.float32, state=True)
    y, state = F.lstm(x, weights, config, **arguments, return_sequences=return_sequences)
    assert y.shape == ((batch, steps, 8) if return_sequences else (batch, 8))
    for part, initial in zip(state, arguments["state"], strict=True):
        assert np.array_equal(part, initial)


def test_rows_of_length_zero_only():
    config, x, weights, arguments = everything()
    arguments["lengths"] = np.zeros(len(x), int)
    y, state = F.lstm(x, weights, config, **arguments)
    assert not y.any()
    for part, initial in zip(state, arguments["state"], strict=True):
        assert np.array_equal(part, initial)


def test_nan_stays_in_its_row():
    config, x, weights, arguments = everything()
    arguments = {"state": arguments["state"]}
    expected, _ = F.lstm(x, weights, config, **arguments)
    x[2, 3, 1] = np.nan
    y, state = F.lstm(x, weights, config, **arguments)
    assert np.isnan(y[2]).any()
    assert np.isnan(state.h[:, 2]).any()
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(y[others], expected[others])
    one_way = LSTMConfig(5, 9)
    weights = F.init_weights(one_way, dtype="float64")
    y, _ = F.lstm(x, weights, one_way)
    assert not np.isnan(y[2, :3]).any()
    assert np.isnan(y[2, 3:]).all()


def test_infinite_and_huge_inputs_saturate():
    config = LSTMConfig(2, 3)
    weights = {name: np.ones(shape) for name, shape in config.parameter_shapes().items()}
    x = np.array([[[1e300, 1e300]], [[-1e300, -1e300]], [[np.inf, np.inf]], [[-np.inf, 0.0]]])
    y, _ = F.lstm(x, weights, config)
    expected = np.tanh(1.0)  # i = o = g = 1, or all gates closed
    assert np.allclose(y[[0, 2]], expected, rtol=1e-14)
    assert np.array_equal(y[[1, 3]], np.zeros((2, 1, 3)))


# ---- packed weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_packed_weights_give_the_same_bits(dtype):
    config, x, weights, arguments = everything(dtype)
    expected = F.lstm(x, weights, config, **arguments)
    packed = F.pack(weights, config)
    assert packed.dtype == dtype
    assert packed.config is config
    for weight in weights.values():
        weight[...] = 0  # packed weights are copies
    assert_same(F.lstm(x, packed, **arguments), expected)
    assert_same(F.lstm(x, packed, config, **arguments), expected)
    assert_same(F.lstm(x, packed, copy.copy(config), **arguments), expected)


def test_packed_weights_are_immutable():
    config, _, weights, _ = everything()
    packed = F.pack(weights, config)
    with pytest.raises(AttributeError):
        packed.config = config
    with pytest.raises(AttributeError):
        packed.extra = 1
    assert copy.deepcopy(packed) is packed
    assert "LSTMConfig(5, 9, " in repr(packed)
    with pytest.raises(TypeError, match="pack them again"):
        pickle.dumps(packed)


def test_any_mapping_of_weights():
    class Mapping(dict):
        """A mapping that runs Python code when the engine reads the arrays."""

        def __getitem__(self, key):
            return super().__getitem__(key)

    config, x, weights, _ = everything()
    expected = F.lstm(x, weights, config)
    shuffled = dict(reversed(list(weights.items())))
    assert_same(F.lstm(x, shuffled, config), expected)
    assert_same(F.lstm(x, Mapping(weights), config), expected)


# ---- initial weights -----------------------------------------------------------------------------


def test_initial_weights_are_those_of_keras():
    config = LSTMConfig(30, 20, num_layers=2, bidirectional=True)
    weights = F.init_weights(config, seed=1)
    assert {name: weight.shape for name, weight in weights.items()} == config.parameter_shapes()
    for name, weight in weights.items():
        assert weight.dtype == np.float32
        if name.startswith("bias"):
            assert np.array_equal(weight, np.repeat([0, 1, 0, 0], 20))
        elif name.startswith("weight_hh"):
            product = weight.astype(float).T @ weight
            assert np.abs(product - np.eye(20)).max() < 1e-6  # float32 rounding
        else:
            limit = np.sqrt(6 / (weight.shape[0] + weight.shape[1]))
            assert 0.9 * limit < np.abs(weight).max() <= limit
            # Six standard deviations, limit / sqrt(3 n), of the mean of n uniform values.
            assert abs(weight.mean()) < 6 * limit / np.sqrt(3 * weight.size)


def test_initial_weights_depend_only_on_the_seed():
    config = LSTMConfig(3, 4, num_layers=2)
    first, again, other = (F.init_weights(config, seed=seed) for seed in (5, 5, 6))
    double = F.init_weights(config, seed=5, dtype=np.float64)
    for name in first:
        assert np.array_equal(first[name], again[name])
        assert np.array_equal(first[name], double[name].astype(np.float32))
        if name.startswith("weight"):
            assert not np.array_equal(first[name], other[name])
    assert not np.array_equal(first["weight_hh_l0"], first["weight_hh_l1"])
    generator = np.random.default_rng(5)
    assert np.array_equal(F.init_weights(config, generator)["weight_ih_l0"], first["weight_ih_l0"])


# ---- dropout -------------------------------------------------------------------------------------


def test_dropout_between_layers_only_while_training():
    config = LSTMConfig(4, 6, num_layers=2, dropout=0.5)
    x, weights, _ = random_case(config, 3, 5, np.float64)
    without, _ = F.lstm(x, weights, LSTMConfig(4, 6, num_layers=2))
    assert np.array_equal(F.lstm(x, weights, config)[0], without)
    trained, _, _ = F.lstm(x, weights, config, training=True, seed=1)
    assert not np.allclose(trained, without)
    again, _, _ = F.lstm(x, weights, config, training=True, seed=1)
    assert np.array_equal(again, trained)
    other, _, _ = F.lstm(x, weights, config, training=True, seed=2)
    assert not np.allclose(other, trained)
    one_layer = LSTMConfig(4, 6, dropout=0.5)
    first = {name: weight for name, weight in weights.items() if name.endswith("_l0")}
    plain, _ = F.lstm(x, first, one_layer)
    assert np.array_equal(F.lstm(x, first, one_layer, training=True)[0], plain)


def test_dropout_keeps_the_right_share_and_the_mean():
    # A second layer that passes its input through reveals the mask: with tiny weights it is linear.
    config = LSTMConfig(1, 50, num_layers=2, dropout=0.3)
    weights = {name: np.zeros(shape) for name, shape in config.parameter_shapes().items()}
    weights["bias_l0"][:] = 3.0
    weights["weight_ih_l1"][100:150] = 1e-9 * np.eye(50)  # gate g of each unit
    weights["bias_l1"][:] = np.repeat([40.0, -40.0, 0.0, 40.0], 50)  # i = o = 1, f = 0
    x = np.zeros((40, 10, 1))
    y, _, _ = F.lstm(x, weights, config, training=True, seed=3)
    first = {name: weight for name, weight in weights.items() if name.endswith("_l0")}
    hidden, _ = F.lstm(x, first, LSTMConfig(1, 50))
    scale = y / (1e-9 * hidden)
    kept = scale > 0.5
    assert np.allclose(scale[kept], 1 / 0.7, rtol=1e-6)
    assert np.abs(scale[~kept]).max() < 1e-6
    share = kept.mean()
    assert abs(share - 0.7) < 6 * np.sqrt(0.3 * 0.7 / kept.size)


# ---- configuration -------------------------------------------------------------------------------


def test_config_is_a_value():
    config = LSTMConfig(np.int32(3), 4, dropout=np.float32(0.5), bidirectional=np.True_)
    assert config == LSTMConfig(3, 4, bidirectional=True, dropout=0.5)
    assert hash(config) == hash(copy.deepcopy(config))
    assert [type(value) for value in (config.input_size, config.dropout, config.bidirectional)] == [
        int,
        float,
        bool,
    ]
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(AttributeError):
        config.hidden_size = 5
    assert (config.num_directions, config.output_size) == (2, 8)
    assert LSTMConfig(3, 4).parameter_shapes() == {
        "weight_ih_l0": (16, 3),
        "weight_hh_l0": (16, 4),
        "bias_l0": (16,),
    }


# ---- threads -------------------------------------------------------------------------------------


def test_calls_from_many_threads_at_once():
    config, x, weights, arguments = everything(np.float32, batch=16, steps=20)
    packed = F.pack(weights, config)
    inputs = [x + np.float32(k) for k in range(4)]

    def run(values):
        y, state, tape = F.lstm(values, packed, config, **arguments, training=True)
        gradients = F.lstm_backward(tape, y, state)
        return [y, *state, gradients.x, *gradients.weights.values()]

    expected = [run(values) for values in inputs]
    wrong = []

    def work(index):
        for _ in range(10):
            results = run(inputs[index])
            if not all(map(np.array_equal, results, expected[index])):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_gradient_arrays_must_not_overlap():
    config = LSTMConfig(3, 4)
    weights, x = F.init_weights(config), np.ones((2, 5, 3), np.float32)
    buffer = np.zeros(500, np.float32)
    sizes = {name: array.size for name, array in weights.items()}

    def backward(starts, dy=None):
        y, _, tape = F.lstm(x, weights, config, training=True)
        out = {
            name: buffer[start : start + sizes[name]].reshape(weights[name].shape)
            for name, start in zip(weights, starts, strict=True)
        }
        return F.lstm_backward(tape, np.ones_like(y) if dy is None else dy, out=out)

    apart = (0, 48, 112)  # 48, 64 and 16 elements, one after the other
    expected = F.lstm_backward(
        (run := F.lstm(x, weights, config, training=True))[2], np.ones_like(run[0])
    )
    for name, gradient in backward(apart).weights.items():
        np.testing.assert_array_equal(gradient, expected.weights[name])
    for starts in ((0, 47, 112), (0, 48, 111), (0, 0, 112), (200, 0, 247)):
        with pytest.raises(ValueError, match="out: expected arrays that do not overlap"):
            backward(starts)
    with pytest.raises(ValueError, match="out: expected arrays that do not overlap dy"):
        backward(apart, buffer[100:140].reshape(2, 5, 4))


@pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(3, 5, num_layers=2, bidirectional=True),
        LSTMConfig(3, 20, num_layers=2, dropout=0.3, zoneout_c=0.2),
        LSTMConfig(3, 5, go_backwards=True),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_masked_steps_are_skipped(config, training):
    random = np.random.default_rng(0)
    x, weights, arguments = random_case(config, 6, 9, np.float64, seed=1, state=True)
    mask = random.random((6, 9)) < 0.6
    mask[0], mask[1], mask[2] = False, True, [False] * 4 + [True] * 5
    reset = random.random((6, 9)) < 0.2
    x[~mask] = np.nan
    if training and has_random_masks(config):
        reset[:] = False
    call = {**arguments, "training": training, "seed": 3}
    y, state, *tape = F.lstm(x, weights, config, mask=mask, reset=reset, **call)
    assert np.all(y[~mask] == 0)
    if training:
        dy = random.normal(size=y.shape)
        dy[~mask] = np.nan
        gradients = F.lstm_backward(tape[0], dy)
        assert np.all(gradients.x[~mask] == 0)
    if training and has_random_masks(config):
        return  # a row alone has different masks
    for n in range(6):
        # The same row with only its valid steps; resets move to the next valid step.
        valid = np.flatnonzero(mask[n])
        seen = np.r_[0, np.cumsum(reset[n])]
        ends = seen[valid + 1]
        moved = np.diff(np.r_[0, ends]) > 0
        h, c = (part[:, n : n + 1] for part in arguments["state"])
        alone = {**call, "state": (h, c), "reset": moved[None]}
        y_row, state_row, *_ = F.lstm(x[n : n + 1, valid], weights, config, **alone)
        assert np.array_equal(y[n, valid], y_row[0])
        for whole, part in zip(state, state_row, strict=True):
            assert np.array_equal(whole[:, n], part[:, 0])


def has_random_masks(config):
    return bool(config.dropout or config.zoneout_c)


def test_bad_masks():
    config = LSTMConfig(2, 3)
    weights = F.init_weights(config)
    x = np.zeros((2, 4, 2), np.float32)
    with pytest.raises(ValueError, match="mask: expected shape"):
        F.lstm(x, weights, config, mask=np.ones((2, 3), bool))
    with pytest.raises(TypeError, match="mask"):
        F.lstm(x, weights, config, mask=np.ones((2, 4)))
    with pytest.raises(ValueError, match="mask: expected none alongside lengths"):
        F.lstm(x, weights, config, mask=np.ones((2, 4), bool), lengths=[1, 2])


@pytest.mark.parametrize(
    "config",
    [
        LSTMConfig(5, 20),
        LSTMConfig(5, 20, num_layers=3, bidirectional=True, dropout=0.2),
        LSTMConfig(5, 20, num_layers=2, proj_size=7, weight_dropout=0.3),
        LSTMConfig(5, 20, recurrent_dropout=0.2),
        LSTMConfig(5, 20, proj_size=7, recurrent_dropout=0.2, zoneout_h=0.2),
        LSTMConfig(5, 20, num_layers=2, layer_norm=True),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_needed_includes_the_tape(config, dtype):
    x, weights, _ = random_case(config, 6, 9, np.dtype(dtype), seed=1)
    lengths = [9, 3, 0, 5, 9, 1]
    _, _, tape = F.lstm(x, weights, config, lengths=lengths, training=True)
    held = tape_bytes(config, 6, sum(lengths), lc.cpu_info().isa, x.itemsize)
    assert tape.nbytes == held
    arguments = {"total_steps": sum(lengths), "dtype": dtype}
    whole = lc.memory_needed(config, 6, 9, **arguments)
    assert held < lc.memory_needed(config, 6, 9, training=False, **arguments) + held < whole
    assert lc.memory_needed(config, 0, 0) > 0


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"layer_norm": True}])
def test_memory_needed_with_recomputation(options):
    config = LSTMConfig(4, 32, num_layers=2, **options)
    x, weights, _ = random_case(config, 1, 900, np.dtype(np.float32), seed=1)
    isa = lc.cpu_info().isa
    needed = {how: lc.memory_needed(config, 1, 900, recompute=how) for how in (None, 2, "sqrt")}
    assert needed["sqrt"] < needed[2] < needed[None]
    _, _, tape = F.lstm(x, weights, config, training=True, recompute="sqrt")
    most = tape_bytes(config, 1, 900, isa, 4, recompute="sqrt")
    assert tape.nbytes <= most < tape_bytes(config, 1, 900, isa, 4) / 2
    # From the start, the memory for a time segment is as large as the largest segment needs.
    y, _, tape = F.lstm(x, weights, config, training=True, recompute=700)
    F.lstm_backward(tape, y)
    assert tape.nbytes <= tape_bytes(config, 1, 900, isa, 4, recompute=700)
    assert lc.memory_needed(config, 1, 900, recompute=900) == needed[None]
    with pytest.raises(ValueError, match="recompute: expected None without training"):
        lc.memory_needed(config, 1, 900, training=False, recompute=3)


def test_memory_needed_refuses_bad_arguments():
    config = LSTMConfig(2, 3)
    with pytest.raises(TypeError, match="config: expected an LSTMConfig"):
        lc.memory_needed((2, 3), 1, 1)
    with pytest.raises(ValueError, match="steps: expected"):
        lc.memory_needed(config, 1, -1)
    with pytest.raises(ValueError, match="dtype: expected float32 or float64"):
        lc.memory_needed(config, 1, 1, dtype="float16")
    with pytest.raises(ValueError, match="isa"):
        lc.memory_needed(config, 1, 1, isa="sse9")

"""lstmcore.jax: results alongside a scan in plain JAX, compiled and mapped over batches."""

import threading

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import lstmcore as lc  # noqa: E402
from jax_kit import close, draw, random_mask, scan_lstm  # noqa: E402
from lstmcore import functional as F  # noqa: E402
from lstmcore.jax import engine, lstm, weights  # noqa: E402

OPTIONS = {
    "plain": {},
    "reverse": {"reverse": True},
    "mask": {"mask": random_mask()},
    "mask, reverse": {"mask": random_mask(), "reverse": True},
    "lengths": {"lengths": jnp.asarray([6, 0, 3, 1])},
    "lengths, reverse": {"lengths": np.array([6, 0, 3, 1], np.uint8), "reverse": True},
}


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of the engine's forward."""
    count = []
    forward = F.lstm

    def counted(*arguments, **options):
        count.append(options["training"])
        return forward(*arguments, **options)

    monkeypatch.setattr(engine.F, "lstm", counted)
    return count


@pytest.mark.parametrize("without", [(), ("b",), ("h0", "c0"), ("c0",), ("b", "h0")])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_results_are_those_of_a_scan(options, without, dtype):
    arguments = draw(dtype, without=without)
    expected = scan_lstm(**arguments, **options)
    close(lstm(**arguments, **options), expected)
    close(jax.jit(lambda given: lstm(**given, **options))(arguments), expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_time_major(options, dtype):
    arguments = draw(dtype)
    y, h, c = lstm(**arguments, **options)
    swapped = {**arguments, "x": arguments["x"].swapaxes(0, 1)}
    other = {name: value.T if name == "mask" else value for name, value in options.items()}
    y_swapped, *state = lstm(**swapped, **other, time_major=True)
    assert np.array_equal(y_swapped.swapaxes(0, 1), y)
    assert np.array_equal(state, (h, c))


def test_bits_are_those_of_the_engine_and_do_not_depend_on_threads():
    arguments = draw("float32", batch=7, steps=20, units=24, without=("h0", "c0"))
    config = lc.LSTMConfig(3, 24)
    named = {f"weight_{name[2:]}_l0": np.asarray(arguments[name]) for name in ("w_ih", "w_hh")}
    named["bias_l0"] = np.asarray(arguments["b"])
    expected, state = F.lstm(np.asarray(arguments["x"]), named, config)
    for threads in (1, 2):
        lc.set_num_threads(threads)
        y, h, c = lstm(**arguments)
        assert np.array_equal(y, expected)
        assert np.array_equal(h, state.h[0])
        assert np.array_equal(c, state.c[0])


@pytest.mark.parametrize(("batch", "steps"), [(0, 6), (4, 0), (0, 0)])
def test_no_rows_and_no_steps(batch, steps):
    arguments = draw("float32", batch=batch, steps=steps)
    y, h, c = lstm(**arguments)
    assert y.shape == (batch, steps, 5)
    assert np.array_equal(h, arguments["h0"])
    assert np.array_equal(c, arguments["c0"])
    gradients = jax.grad(lambda given: sum(array.sum() for array in lstm(**given)))(arguments)
    assert np.array_equal(gradients["c0"], np.ones((batch, 5)))
    assert not gradients["w_hh"].any()


def test_arrays_of_numpy_and_lists():
    arguments = draw("float32")
    expected = lstm(**arguments)
    close(lstm(**{name: np.asarray(array) for name, array in arguments.items()}), expected)
    close(lstm(**{name: array.tolist() for name, array in arguments.items()}), expected)
    close(lstm(**arguments, lengths=[6, 6, 6, 6]), expected)


def test_precision_is_that_of_the_process():
    arguments = draw("float32", features=32, units=32, without=("h0", "c0"))
    config = lc.LSTMConfig(32, 32)
    named = dict(
        zip(config.parameter_shapes(), map(np.asarray, list(arguments.values())[1:]), strict=True)
    )
    try:
        lc.set_precision("bf16")
        y, *_ = lstm(**arguments)
        expected, _ = F.lstm(np.asarray(arguments["x"]), named, config)
    finally:
        lc.set_precision("fp32")
    assert np.array_equal(y, expected)


# ---- vmap --------------------------------------------------------------------------------------


def stacked(count=3, **options):
    """Draw the arguments of several calls, with a first axis for the calls."""
    drawn = [draw("float32", seed=seed, **options) for seed in range(count)]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *drawn)


def one_by_one(function, arguments, mapped, count=3):
    """Stack what `function` returns for each entry of the first axis of `mapped` arguments."""
    results = [
        function(**{k: v[n] if k in mapped else v[0] for k, v in arguments.items()})
        for n in range(count)
    ]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *results)


def mapped_lstm(arguments, mapped, **options):
    given = {k: v if k in mapped else v[0] for k, v in arguments.items()}
    axes = {k: 0 if k in mapped else None for k in given}
    return jax.vmap(lambda given: lstm(**given, **options), in_axes=(axes,))(given)


@pytest.mark.parametrize("mapped", [("x",), ("h0", "c0"), ("x", "h0"), ("x", "mask", "c0")])
def test_a_mapped_axis_becomes_part_of_the_batch(mapped, calls):
    arguments = stacked()
    arguments["mask"] = jnp.stack([random_mask(seed=seed) for seed in range(3)])
    close(mapped_lstm(arguments, mapped), one_by_one(scan_lstm, arguments, mapped))
    assert calls == [False]


def test_a_mapped_axis_in_other_places(calls):
    arguments = stacked(without=("h0", "c0"))
    lengths = jnp.asarray([[1, 2, 3, 4], [0, 6, 5, 1], [2, 2, 2, 2]])
    expected = jnp.stack(
        [
            scan_lstm(**{k: v[0] for k, v in arguments.items()} | {"x": x}, lengths=n)[0]
            for x, n in zip(arguments["x"], lengths, strict=True)
        ]
    )
    weights = [arguments[name][0] for name in ("w_ih", "w_hh", "b")]
    for axis in (0, 1, 2, 3, -1):
        x = jnp.moveaxis(arguments["x"], 0, axis)
        function = jax.vmap(
            lambda x, n: lstm(x, *weights, lengths=n)[0], in_axes=(axis, 1), out_axes=axis
        )
        close(jnp.moveaxis(function(x, lengths.T), axis, 0), expected)
    swapped = arguments["x"].swapaxes(1, 2)
    function = jax.vmap(lambda x, n: lstm(x, *weights, lengths=n, time_major=True)[0])
    close(function(swapped, lengths).swapaxes(1, 2), expected)
    assert calls == [False] * 6


def test_two_mapped_axes(calls):
    arguments = stacked(6, without=("h0",))
    x = arguments["x"].reshape(2, 3, 4, 6, 3)
    rest = {name: array[0] for name, array in arguments.items() if name != "x"}
    function = jax.vmap(jax.vmap(lambda x: lstm(x, **rest)))
    expected = one_by_one(scan_lstm, arguments, ("x",), 6)
    close(jax.jit(function)(x), [array.reshape(2, 3, *array.shape[1:]) for array in expected])
    assert calls == [False]


@pytest.mark.parametrize(
    "mapped", [("w_ih",), ("w_hh", "b"), ("x", "w_ih", "w_hh", "b", "h0", "c0", "mask"), ("x", "b")]
)
def test_mapped_weights_are_right_too(mapped):
    arguments = stacked()
    arguments["mask"] = jnp.stack([random_mask(seed=seed) for seed in range(3)])
    close(mapped_lstm(arguments, mapped), one_by_one(scan_lstm, arguments, mapped))


def test_mapped_weights_inside_a_mapped_batch():
    arguments = stacked()
    mapped = ("w_ih", "w_hh", "b")
    rest = {name: array if name in mapped else array[0] for name, array in arguments.items()}
    axes = {name: 0 if name in mapped else None for name in arguments}
    over_weights = jax.vmap(lambda given: lstm(**given), in_axes=(axes,))
    x = jnp.stack([rest["x"], -rest["x"]])
    actual = jax.vmap(lambda x: over_weights({**rest, "x": x}))(x)
    for n in range(2):
        several = {**arguments, "x": x[n][None]}
        expected = one_by_one(scan_lstm, several, mapped)
        close(jax.tree.map(lambda array, n=n: array[n], actual), expected)


def test_a_mapped_axis_without_entries():
    arguments = draw("float32", without=("h0", "c0"))
    x = jnp.zeros((0, *arguments["x"].shape), jnp.float32)
    rest = [arguments[name] for name in ("w_ih", "w_hh", "b")]
    y, h, _ = jax.vmap(lambda x: lstm(x, *rest))(x)
    assert y.shape == (0, 4, 6, 5)
    assert h.shape == (0, 4, 5)


# ---- inside other programs -----------------------------------------------------------------------


def test_in_a_scan_and_a_condition():
    arguments = draw("float32")
    x = jnp.stack([arguments["x"], 2 * arguments["x"]])
    rest = [arguments[name] for name in ("w_ih", "w_hh", "b")]

    def both(function):
        def segment(state, x):
            y, h, c = function(x, *rest, *state)
            return (h, c), jax.lax.cond(y.sum() > 1e9, lambda: 0 * y, lambda: y)

        return jax.jit(lambda: jax.lax.scan(segment, (arguments["h0"], arguments["c0"]), x))()

    close(both(lstm), both(scan_lstm))


def test_threads_at_once():
    arguments = draw("float32", batch=8, steps=30, units=32)
    function = jax.jit(lambda given: lstm(**given)[0])
    expected = function(arguments)
    results = []

    def run():
        for _ in range(20):
            results.append(np.array_equal(function(arguments), expected))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80


def test_shapes_are_known_without_running(calls):
    arguments = draw("float32")
    shapes = jax.eval_shape(lambda given: lstm(**given), arguments)
    assert [shape.shape for shape in shapes] == [(4, 6, 5), (4, 5), (4, 5)]
    assert {shape.dtype for shape in shapes} == {np.dtype("float32")}
    assert calls == []


# ---- weights that stay the same ------------------------------------------------------------------


def test_weights_are_packed_again_only_if_they_changed(monkeypatch):
    packed = []
    pack = F.pack
    monkeypatch.setattr(weights.F, "pack", lambda *given: packed.append(1) or pack(*given))
    config = lc.LSTMConfig(3, 5)
    named = F.init_weights(config, seed=3)
    x = np.ones((2, 4, 3), np.float32)

    def run():
        return F.lstm(x, weights.Packer(True).packed(named, config))[0]

    first = run()
    for _ in range(4):
        assert np.array_equal(run(), first)
    assert len(packed) == 2  # for the first call, and for the copy that the second one makes
    named["weight_hh_l0"][3, 2] += 1  # in place, which only the bytes tell
    expected = F.lstm(x, named, config)[0]
    assert not np.array_equal(expected, first)
    for _ in range(3):
        assert np.array_equal(run(), expected)


@pytest.fixture
def nothing_seen(monkeypatch):
    monkeypatch.setattr(weights, "_seen", type(weights._seen)())
    monkeypatch.setattr(weights, "_held", 0)


def seen(count):
    """Pack as many sets of weights, each twice, so that they are copied; return their size."""
    config = lc.LSTMConfig(3, 5)
    sets = [F.init_weights(config, seed=seed) for seed in range(count)]
    for named in sets + sets:
        weights.Packer(True).packed(named, config)
    return sum(array.nbytes for array in sets[0].values())


@pytest.mark.usefixtures("nothing_seen")
def test_few_places_of_weights_are_remembered(monkeypatch):
    size = seen(4)
    assert len(weights._seen) == 4
    assert weights._held == 4 * size
    monkeypatch.setattr(weights, "MOST_PLACES", 3)
    seen(1)
    assert len(weights._seen) == 3
    monkeypatch.setattr(weights, "MOST_HELD", 2 * size)
    seen(2)
    assert weights._held <= 2 * size


@pytest.mark.usefixtures("nothing_seen")
def test_large_weights_are_not_remembered(monkeypatch):
    monkeypatch.setattr(weights, "MOST_BYTES", 10)
    seen(1)
    assert not weights._seen

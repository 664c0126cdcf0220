"""lstmcore.jax: gradients alongside those of a scan in plain JAX, in JAX's transformations."""

import threading

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from jax_kit import (  # noqa: E402
    DIFFERENTIABLE,
    close,
    draw,
    random_mask,
    release_tapes,
    scan_lstm,
    weighted_sum,
)
from lstmcore import functional as F  # noqa: E402
from lstmcore.jax import engine, lstm, tapes, xla  # noqa: E402

OPTIONS = {
    "plain": {},
    "reverse": {"reverse": True},
    "mask": {"mask": random_mask()},
    "lengths, reverse": {"lengths": jnp.asarray([6, 0, 3, 1]), "reverse": True},
}


@pytest.fixture(autouse=True)
def empty_store():
    release_tapes()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def calls(monkeypatch):
    """Record the calls of Python's: "forward", "tape" and, with its options, "backward"."""
    made = []
    forward, backward = F.lstm, F.lstm_backward

    def counted_forward(*arguments, **options):
        made.append("tape" if options["training"] else "forward")
        return forward(*arguments, **options)

    def counted_backward(*arguments, **options):
        made.append(("backward", options))
        return backward(*arguments, **options)

    monkeypatch.setattr(engine.F, "lstm", counted_forward)
    monkeypatch.setattr(engine.F, "lstm_backward", counted_backward)
    xla.direct.allow(False)
    yield made
    xla.direct.allow(True)


def kinds(calls):
    return [call if isinstance(call, str) else call[0] for call in calls]


def loss(function, **options):
    return lambda given: weighted_sum(function(**given, **options))


@pytest.mark.parametrize("without", [(), ("b",), ("h0", "c0"), ("c0",)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_gradients_are_those_of_a_scan(options, without, dtype):
    arguments = draw(dtype, without=without)
    expected = jax.grad(loss(scan_lstm, **options))(arguments)
    close(jax.grad(loss(lstm, **options))(arguments), expected)
    close(jax.jit(jax.grad(loss(lstm, **options)))(arguments), expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_time_major(options):
    arguments = draw("float32")
    arguments["x"] = arguments["x"].swapaxes(0, 1)
    given = {name: value.T if name == "mask" else value for name, value in options.items()}
    given["time_major"] = True
    expected = jax.grad(loss(scan_lstm, **given))(arguments)
    close(jax.grad(loss(lstm, **given))(arguments), expected)


def test_finite_differences():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        arguments = draw("float64", batch=2, steps=3, units=2)
        check_grads(loss(lstm), (arguments,), order=1, modes=("rev",), rtol=1e-7, atol=1e-7)
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_a_single_output(output):
    arguments = draw("float32")
    expected = jax.grad(lambda given: weighted_sum(scan_lstm(**given)[output]))(arguments)
    close(jax.grad(lambda given: weighted_sum(lstm(**given)[output]))(arguments), expected)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_only_gradients_that_are_asked_for_are_computed(name, calls):
    arguments = draw("float32")

    def of_one(function):
        return jax.grad(lambda value: weighted_sum(function(**{**arguments, name: value})))

    close(of_one(lstm)(arguments[name]), of_one(scan_lstm)(arguments[name]))
    assert kinds(calls) == ["tape", "backward"]
    options = calls[1][1]
    assert options["need_x"] == (name == "x")
    assert options["need_state"] == (name in ("h0", "c0"))
    out = options["out"] or {}
    wanted = [key for key, array in out.items() if array is not None]
    assert wanted == ([engine.WEIGHTS[name]] if name in engine.WEIGHTS else [])


def test_a_value_alone_records_no_tape(calls):
    arguments = draw("float32")
    jax.jit(loss(lstm))(arguments)
    lstm(**arguments)
    assert calls == ["forward", "forward"]


# ---- mapped --------------------------------------------------------------------------------------


def one_and_many(count=3):
    arguments = draw("float32", without=("h0", "c0"))
    xs = jnp.stack([draw("float32", seed=seed)["x"] for seed in range(count)])
    rest = {name: array for name, array in arguments.items() if name != "x"}
    return rest, xs


def test_the_gradient_of_a_mapped_function_is_one_call(calls):
    rest, xs = one_and_many()

    def total(function):
        return jax.grad(
            lambda rest, xs: weighted_sum(jax.vmap(lambda x: function(x, **rest))(xs)), (0, 1)
        )

    close(jax.jit(total(lstm))(rest, xs), total(scan_lstm)(rest, xs))
    assert kinds(calls) == ["tape", "backward"]


def test_gradients_of_each_example(calls):
    rest, xs = one_and_many()

    def each(function):
        gradient = jax.grad(lambda rest, x: weighted_sum(function(x, **rest)), (0, 1))
        return jax.vmap(gradient, in_axes=(None, 0))

    expected = each(scan_lstm)(rest, xs)
    close(each(lstm)(rest, xs), expected)
    assert kinds(calls) == ["tape"] * 3 + ["backward"] * 3
    close(jax.jit(each(lstm))(rest, xs), expected)
    assert tapes.store.stored()[0] == 0


def test_gradients_with_mapped_weights():
    rest, xs = one_and_many()
    many = jax.tree.map(lambda array: jnp.stack([array, -array, 2 * array]), rest)

    def total(function):
        mapped = jax.vmap(lambda rest, x: function(x, **rest))
        return jax.grad(lambda many, xs: weighted_sum(mapped(many, xs)), (0, 1))

    close(total(lstm)(many, xs), total(scan_lstm)(many, xs))


def test_jacobian():
    arguments = draw("float32", batch=2, steps=3, units=2)

    def jacobian(function):
        return jax.jacrev(lambda given: function(**given)[0])(arguments)

    close(jacobian(lstm), jacobian(scan_lstm))
    close(jax.jit(lambda: jacobian(lstm))(), jacobian(scan_lstm))


# ---- programs ------------------------------------------------------------------------------------


def test_a_backward_that_runs_twice(calls):
    arguments = draw("float32")
    outputs, backward = jax.vjp(lambda given: lstm(**given), arguments)
    ones = jax.tree.map(jnp.ones_like, outputs)
    first, second = backward(ones), backward(ones)
    assert kinds(calls) == ["tape", "backward", "tape", "backward"]
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.array_equal(one, other)


def training(function):
    """Return the losses and the parameters of a training loop that is one scan."""
    parameters = draw("float32", without=("x", "h0", "c0"))
    xs = jnp.stack([draw("float32")["x"]] * 20)

    def step(parameters, x):
        def mean(parameters):
            y, _, _ = function(x, **parameters)
            return jnp.mean((y - jnp.tanh(x.cumsum(1)[..., :1])) ** 2)

        value, gradient = jax.value_and_grad(mean)(parameters)
        return jax.tree.map(lambda p, g: p - 0.5 * g, parameters, gradient), value

    return jax.jit(lambda: jax.lax.scan(step, parameters, xs))()


def test_a_training_loop_inside_a_scan():
    close(training(lstm), training(scan_lstm))
    assert training(lstm)[1][-1] < 0.92 * training(lstm)[1][0]


def test_backpropagation_through_a_scan_of_segments(calls):
    arguments = draw("float32")
    x = jnp.stack([arguments["x"], -arguments["x"], 0.5 * arguments["x"]])
    rest = {name: arguments[name] for name in ("w_ih", "w_hh", "b")}

    def total(function):
        def whole(rest, x):
            def segment(state, x):
                y, h, c = function(x, **rest, h0=state[0], c0=state[1])
                return (h, c), y

            return weighted_sum(jax.lax.scan(segment, (arguments["h0"], arguments["c0"]), x))

        return jax.jit(jax.grad(whole, (0, 1)))

    close(total(lstm)(rest, x), total(scan_lstm)(rest, x))
    assert kinds(calls) == ["tape"] * 3 + ["backward"] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpoint_records_a_tape_only_when_it_is_taken(compiled, calls):
    arguments = draw("float32")
    again = jax.checkpoint(lambda given: lstm(**given))
    gradient = jax.value_and_grad(lambda given: weighted_sum(again(given)))
    actual = (jax.jit(gradient) if compiled else gradient)(arguments)
    close(actual, jax.value_and_grad(loss(scan_lstm))(arguments))
    assert kinds(calls) == ["forward", "tape", "backward"]
    assert tapes.store.stored()[0] == 0


def test_donated_arrays():
    arguments = draw("float32")
    gradient = jax.grad(loss(lstm))
    expected = gradient(arguments)

    def step(given):
        return jax.tree.map(jnp.subtract, given, gradient(given))

    copies = jax.tree.map(jnp.copy, arguments)
    after = jax.jit(step, donate_argnums=0)(copies)
    close(after, jax.tree.map(jnp.subtract, arguments, expected))


def test_threads_that_train_at_once():
    arguments = draw("float32", batch=8, steps=20, units=16)
    gradient = jax.jit(jax.grad(loss(lstm)))
    expected = gradient(arguments)
    results = []

    def run():
        for _ in range(10):
            actual = gradient(arguments)
            results.append(all(np.array_equal(actual[name], expected[name]) for name in expected))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40
    assert tapes.store.stored()[0] == 0


# ---- what is refused -----------------------------------------------------------------------------


def test_forward_mode_is_refused():
    arguments = draw("float32")
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: lstm(**{**arguments, "x": x}), (arguments["x"],), (arguments["x"],))


def test_the_tangent_along_a_mask_is_zero():
    arguments = draw("float32")
    mask = random_mask()
    no_tangent = np.zeros(mask.shape, jax.dtypes.float0)
    outputs, tangents = jax.jvp(lambda mask: lstm(**arguments, mask=mask), (mask,), (no_tangent,))
    close(outputs, lstm(**arguments, mask=mask))
    assert not any(tangent.any() for tangent in tangents)

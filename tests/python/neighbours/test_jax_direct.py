"""lstmcore.jax: training calls that need no Python, with the same bits as those that do."""

import os
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import lstmcore as lc  # noqa: E402
from jax_kit import DIFFERENTIABLE, draw, random_mask, release_tapes, weighted_sum  # noqa: E402
from lstmcore.jax import engine, lstm, tapes, xla  # noqa: E402

# JAX turns an invalid argument into either, depending on how it dispatches the call.
FAILED = (jax.errors.JaxRuntimeError, ValueError)
LENGTHS = [6, 0, 3, 1]
OPTIONS = {
    "plain": {},
    "reverse": {"reverse": True},
    "mask": {"mask": random_mask()},
    "time_major, mask": {"mask": random_mask().T, "time_major": True},
    "lengths": {"lengths": jnp.asarray(LENGTHS)},
    "lengths, time_major, reverse": {
        "lengths": jnp.asarray(LENGTHS, jnp.uint8),
        "time_major": True,
        "reverse": True,
    },
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
def without_python(monkeypatch):
    """Fail if Python records a tape or runs a backward."""

    def refuse(*unused, **options):
        if options.get("training", True):
            raise AssertionError("Python was called")
        return forward(*unused, **options)

    forward = engine.F.lstm
    monkeypatch.setattr(engine.F, "lstm", refuse)
    monkeypatch.setattr(engine.F, "lstm_backward", refuse)


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def value_and_gradients(arguments, wanted, options):
    def loss(given):
        outputs = lstm(**{**arguments, **given}, **options)
        return weighted_sum(outputs), outputs

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return arrays(step({name: arguments[name] for name in wanted}))


def in_python(function, *arguments):
    xla.direct.allow(False)
    try:
        return function(*arguments)
    finally:
        xla.direct.allow(True)


def check(arguments, wanted, options):
    """Compare with Python's calls, bit for bit."""
    expected = in_python(value_and_gradients, arguments, wanted, options)
    before = sum(plan.count for _, plan in xla.direct._plans)
    actual = value_and_gradients(arguments, wanted, options)
    assert sum(plan.count for _, plan in xla.direct._plans) == before + 1
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert tapes.store.stored() == (0, 0)


@pytest.mark.parametrize("without", [(), ("b", "c0"), ("h0", "c0")])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_the_bits_are_those_of_calls_in_python(options, without, dtype):
    arguments = draw(dtype, without=without)
    if options.get("time_major"):
        arguments["x"] = arguments["x"].swapaxes(0, 1)
    check(arguments, tuple(arguments), options)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_single_gradient(name):
    check(draw("float32"), (name,), {})


def test_python_is_not_called(without_python):
    arguments = draw("float32")
    value_and_gradients(arguments, tuple(arguments), {})
    with pytest.raises(FAILED, match="Python was called"):
        in_python(value_and_gradients, arguments, tuple(arguments), {})


@pytest.mark.parametrize("precision", ["bf16x2", "auto"])
def test_the_precision_of_the_process(precision):
    arguments = draw("float32", features=32, units=64)
    plain = value_and_gradients(arguments, ("w_hh",), {})
    lc.set_precision(precision)
    check(arguments, ("w_hh",), {})
    lc.set_precision("fp32")
    for one, other in zip(value_and_gradients(arguments, ("w_hh",), {}), plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_precision_without_training_is_refused():
    arguments = draw("float32")
    lc.set_precision("int8")
    with pytest.raises(FAILED, match="int8"):
        value_and_gradients(arguments, ("x",), {})


def test_a_released_tape_is_recorded_again_in_python(monkeypatch):
    arguments = draw("float32")
    expected = value_and_gradients(arguments, tuple(arguments), {})
    _, backward = jax.vjp(lambda given: weighted_sum(lstm(**given)), arguments)
    assert tapes.store.stored()[0] == 1
    release_tapes()
    for one, other in zip(arrays(backward(jnp.float32(1))), expected[4:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_lengths_are_checked():
    arguments = draw("float32")
    with pytest.raises(FAILED, match="ValueError: lengths.* 7"):
        value_and_gradients(arguments, ("x",), {"lengths": jnp.asarray([6, 7, 3, 4])})
    value_and_gradients(arguments, ("x",), {"lengths": jnp.asarray([6, 5, 3, 4])})


def test_nothing_is_direct_about_mapped_calls(without_python):
    arguments = draw("float32")
    many = jnp.stack([arguments["w_hh"], -arguments["w_hh"]])
    gradient = jax.grad(lambda w: weighted_sum(lstm(**{**arguments, "w_hh": w})))
    with pytest.raises(FAILED, match="Python was called"):
        jax.block_until_ready(jax.vmap(gradient)(many))


# Another thread changes the mask all the time, in memory that JAX shares. If the engine found more
# valid steps the second time, it would write past the end of the memory that it allocated for them.
FLICKER = """
import threading
import jax, numpy as np
from jax_kit import DIFFERENTIABLE, draw, weighted_sum
from lstmcore.jax import lstm, xla

whole = np.zeros(64 * 4000 + 64, np.uint8)
start = -whole.ctypes.data % 64  # JAX shares only aligned memory
mask = whole[start : start + 64 * 4000].reshape(64, 4000)
shared = jax.dlpack.from_dlpack(mask.view(np.bool_), copy=False)
assert np.shares_memory(np.asarray(shared), mask)
over = threading.Event()

def flicker():
    while not over.is_set():
        mask.fill(1)
        mask.fill(0)

arguments = draw("float32", batch=64, steps=4000, features=1, units=2)
step = jax.jit(jax.value_and_grad(lambda given, mask: weighted_sum(lstm(**given, mask=mask))))
thread = threading.Thread(target=flicker)
thread.start()
try:
    for _ in range(8):
        value, _ = step(arguments, shared)
        assert np.isfinite(value)
    print(sum(plan.count for _, plan in xla.direct._plans))
finally:
    over.set()
    thread.join()
"""


def test_another_thread_may_change_a_mask_during_the_call():
    path = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", FLICKER],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == 8

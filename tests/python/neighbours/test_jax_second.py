"""lstmcore.jax: gradients of gradients, alongside those of a scan in plain JAX."""

import functools

import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from jax_kit import close, draw, random_mask, release_tapes, scan_lstm, weighted_sum  # noqa: E402
from lstmcore.jax import lstm, tapes  # noqa: E402

OPTIONS = {
    "plain": {},
    "mask, reverse": {"mask": random_mask(), "reverse": True},
    "lengths, time-major": {"lengths": jnp.asarray([6, 0, 3, 1]), "time_major": True},
}


@pytest.fixture(autouse=True)
def float64_and_no_tapes():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    release_tapes()
    yield
    jax.config.update("jax_enable_x64", before)


def arguments_for(options):
    arguments = draw("float64")
    if options.get("time_major"):
        arguments["x"] = arguments["x"].swapaxes(0, 1)
    return arguments


def penalty(function):
    """Return a sum of cubes of the gradients of `function`."""
    gradient = jax.grad(function)
    return lambda given: sum((part**3).sum() for part in jax.tree.leaves(gradient(given)))


def loss(function, options):
    return lambda given: weighted_sum([y**2 for y in function(**given, **options)])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_second_derivatives_are_those_of_a_scan(options):
    arguments = arguments_for(options)
    second = jax.jit(jax.grad(penalty(loss(lstm, options))))
    expected = jax.jit(jax.grad(penalty(loss(scan_lstm, options))))(arguments)
    close(second(arguments), expected)
    assert tapes.store.stored() == (0, 0)


def test_finite_differences():
    given = draw("float64", batch=2, steps=3, features=2, units=2)
    names = ("x", "w_hh", "b", "c0")

    def function(*values):
        return weighted_sum(lstm(**given | dict(zip(names, values, strict=True))))

    values = [given[name] for name in names]
    check_grads(jax.jit(function), values, order=2, modes=["rev"], rtol=1e-6)


def test_the_outer_gradient_of_an_argument_that_the_inner_one_leaves_out():
    """As a gradient penalty has it: of x first, then of the weights."""
    arguments = draw("float64")

    def by_weights(function):
        def square(weights, x):
            slope = jax.grad(lambda x: weighted_sum(function(x, **weights)))(x)
            return (slope**2).sum()

        weights = {name: arguments[name] for name in ("w_ih", "w_hh", "b")}
        return jax.jit(jax.grad(square))(weights, arguments["x"])

    close(by_weights(lstm), by_weights(scan_lstm))


def test_mapped():
    arguments = draw("float64")
    xs = jnp.stack([arguments["x"], -arguments["x"]])

    def one(function, x):
        return jax.grad(penalty(lambda x: weighted_sum(function(**arguments | {"x": x}))))(x)

    actual = jax.jit(jax.vmap(functools.partial(one, lstm)))(xs)
    close(actual, jax.jit(jax.vmap(functools.partial(one, scan_lstm)))(xs))

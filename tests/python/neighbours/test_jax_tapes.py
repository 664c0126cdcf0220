"""lstmcore.jax: tapes that no backward takes are released, and gradients are right without them."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

from jax_kit import close, draw, release_tapes, scan_lstm, weighted_sum  # noqa: E402
from lstmcore import LSTMConfig  # noqa: E402
from lstmcore import functional as F  # noqa: E402
from lstmcore.jax import lstm, tapes  # noqa: E402


@pytest.fixture(autouse=True)
def empty_store():
    release_tapes()


def record(steps=10):
    """Make a tape."""
    config = LSTMConfig(3, 5)
    x = np.ones((2, steps, 3), np.float32)
    return F.lstm(x, F.init_weights(config), config, training=True)[2]


def loss(given):
    return weighted_sum(lstm(**given))


def test_a_backward_takes_its_tape():
    arguments = draw("float32")
    _, backward = jax.vjp(loss, arguments)
    count, size = tapes.store.stored()
    assert count == 1
    assert size > arguments["x"].nbytes
    backward(jnp.float32(1))
    assert tapes.store.stored() == (0, 0)


def test_a_tape_is_taken_once():
    tape = record()
    number = tapes.store.put(tape)
    assert tapes.store.take(number) is tape
    assert tapes.store.take(number) is None
    assert tapes.store.take(12345) is None
    assert tapes.store.stored() == (0, 0)


def test_the_oldest_are_released_first(monkeypatch):
    size = record().nbytes
    monkeypatch.setattr(tapes.store, "most_bytes", 3 * size)
    numbers = [tapes.store.put(record()) for _ in range(5)]
    assert tapes.store.stored() == (3, 3 * size)
    assert [tapes.store.take(number) is None for number in numbers] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_newest_is_stored_whatever_its_size(monkeypatch):
    monkeypatch.setattr(tapes.store, "most_bytes", 10)
    tapes.store.put(record())
    number = tapes.store.put(record(50))
    assert tapes.store.stored()[0] == 1
    assert tapes.store.take(number) is not None


def test_a_number_of_small_tapes(monkeypatch):
    monkeypatch.setattr(tapes.store, "most_tapes", 4)
    for _ in range(9):
        tapes.store.put(record(1))
    assert tapes.store.stored()[0] == 4


def test_backwards_that_never_run_hold_a_bounded_memory(monkeypatch):
    arguments = draw("float32")
    jax.vjp(loss, arguments)
    _, size = tapes.store.stored()
    monkeypatch.setattr(tapes.store, "most_bytes", 4 * size)
    outer = jax.jit(lambda given: jax.vjp(loss, given)[0])
    for _ in range(10):
        jax.vjp(loss, arguments)
        outer(arguments)
    assert tapes.store.stored() == (4, 4 * size)


def test_gradients_after_a_tape_was_released(monkeypatch):
    monkeypatch.setattr(tapes.store, "most_bytes", 10)  # the newest alone
    arguments = draw("float32")

    def three_layers(function):
        def total(given):
            x = given["x"]
            rest = {name: given[name] for name in ("w_hh", "b")}
            for _ in range(3):
                x, _, _ = function(x, given["w_ih"], **rest)
                x = x[..., :3]
            return weighted_sum(x)

        return jax.grad(total)

    close(three_layers(lstm)(arguments), three_layers(scan_lstm)(arguments))
    close(jax.jit(three_layers(lstm))(arguments), three_layers(scan_lstm)(arguments))
    assert tapes.store.stored() == (0, 0)


def test_processes_count_from_different_numbers():
    number = tapes.store.put(record())
    assert 0 <= number < 2**64
    assert tapes.store.put(record()) == number + 1

"""lstmcore.jax: errors name the argument, what was expected and what came, while JAX traces."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

from jax_kit import draw, random_mask, scan_lstm  # noqa: E402
from lstmcore.jax import lstm  # noqa: E402

ZEROS = jnp.zeros
SHAPES = {
    "x": (ZEROS((4, 6)), r"x: expected shape \(N, T, C\), got \(4, 6\); .* x\[None\]"),
    "no features": (ZEROS((4, 6, 0)), r"x: expected at least one feature, got shape \(4, 6, 0\)"),
    "w_ih": (ZEROS((20, 4)), r"w_ih: expected shape \(4H, C\) = \(20, 3\), got \(20, 4\)(\n|$)"),
    "w_ih.T": (ZEROS((3, 20)), r"w_ih: .* got \(3, 20\); pass its transpose, \.T"),
    "w_hh": (ZEROS((20, 6)), r"w_hh: expected shape \(4H, H\), got \(20, 6\)(\n|$)"),
    "w_hh.T": (ZEROS((5, 20)), r"w_hh: .* got \(5, 20\); pass its transpose, \.T"),
    "w_hh of one axis": (ZEROS((20,)), r"w_hh: expected shape \(4H, H\), got \(20,\)"),
    "b": (ZEROS((2, 20)), r"b: expected shape \(4H,\) = \(20,\), got \(2, 20\)"),
    "h0": (ZEROS((1, 4, 5)), r"h0: expected shape \(N, H\) = \(4, 5\), got \(1, 4, 5\)"),
    "c0": (ZEROS((3, 5)), r"c0: expected shape \(N, H\) = \(4, 5\), got \(3, 5\)"),
    "mask": (random_mask(4, 5), r"mask: expected shape \(N, T\) = \(4, 6\), got \(4, 5\)"),
    "lengths": (jnp.ones(3, int), r"lengths: expected shape \(N,\) = \(4,\), got \(3,\)"),
}
TYPES = {
    "x": (jnp.ones((4, 6, 3), int), r"x: expected float32 or float64, got int.*astype"),
    "half": (jnp.ones((4, 6, 3), jnp.bfloat16), "x: expected float32 .* got bfloat16; nothing is"),
    "w_hh": (jnp.ones((20, 5), jnp.float16), "w_hh: expected float32 like x, got float16;"),
    "h0": ("zeros", "h0: expected an array, got 'zeros'"),
    "c0": (jnp.ones((4, 5), complex), "c0: expected float32 like x, got complex64"),
    "mask": (jnp.ones((4, 6), int), r"mask: expected an array of bool, got int.*astype\(bool\)"),
    "lengths": (jnp.ones(4), "lengths: expected integers, got float32"),
    "w_ih": (None, "w_ih: expected an array, got None"),
    "reverse": (1, "reverse: expected True or False, got 1"),
    "time_major": (None, "time_major: expected True or False, got None"),
    "masks": (None, "lstm: unexpected argument 'masks'; did you mean 'mask'?"),
}
PLACES = {"no features": "x", "half": "x", "w_hh of one axis": "w_hh"}


def refused(case, value, error, message):
    name = PLACES.get(case, case.removesuffix(".T"))
    arguments = draw("float32")
    with pytest.raises(error, match=message):
        lstm(**{**arguments, name: value})
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda given: lstm(**{**given, name: value}), arguments)


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case):
    refused(case, SHAPES[case][0], ValueError, SHAPES[case][1])


NUMBERS = {
    "lengths": [2**31, 1, 1, 1],
    "lengths of 64 bits": [-(2**63) - 1] * 4,
    "h0": [10**400],
    "b": 10**30,
    "mask": 2**64,
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_beyond_the_types(case):
    name = case.partition(" ")[0]
    message = f"{name}: expected numbers within the range of JAX's types, got "
    with pytest.raises(ValueError, match=message):
        lstm(**{**draw("float32"), name: NUMBERS[case]})


@pytest.mark.parametrize("value", [2**32 + 1, 2**31, -(2**31) - 1])
def test_lengths_that_would_wrap_around(value):
    """JAX drops upper bits of NumPy's integers, unless ``jax_enable_x64`` is on."""
    lengths = np.array([value, 1, 1, 1])
    with pytest.raises(ValueError, match=f"lengths: expected integers of int32, got {value}"):
        lstm(**draw("float32"), lengths=lengths)
    fine = lstm(**draw("float32"), lengths=np.array([1, 1, 1, 1]))
    same = lstm(**draw("float32"), lengths=jnp.ones(4, int))
    assert all(map(np.array_equal, fine, same))


@pytest.mark.parametrize("case", TYPES)
def test_types(case):
    refused(case, TYPES[case][0], TypeError, TYPES[case][1])


def test_shapes_of_a_time_major_call():
    arguments = draw("float32", without=("h0", "c0"))
    with pytest.raises(ValueError, match=r"mask: expected shape \(T, N\) = \(4, 6\), got \(6, 4\)"):
        lstm(**arguments, mask=random_mask().T, time_major=True)
    with pytest.raises(ValueError, match=r"x: expected shape \(T, N, C\), got \(4, 3\)$"):
        lstm(**{**arguments, "x": ZEROS((4, 3))}, time_major=True)


def test_a_mask_with_lengths():
    arguments, mask = draw("float32"), random_mask()
    lengths = jnp.asarray([6, 2, 3, 4])
    with pytest.raises(ValueError, match="lengths: expected None with a mask, got both") as caught:
        lstm(**arguments, mask=mask, lengths=lengths)
    advice = str(caught.value).partition("pass ")[2].removesuffix(" as the mask")
    both = eval(advice, {"jnp": jnp, "mask": mask, "lengths": lengths, "T": 6})
    within = jnp.where(jnp.arange(6) < lengths[:, None], mask, False)
    for one, other in zip(
        lstm(**arguments, mask=both), scan_lstm(**arguments, mask=within), strict=True
    ):
        assert jnp.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_lengths_outside_the_steps_are_found_when_values_are_known(compiled):
    arguments = draw("float32")

    def function(lengths):
        return lstm(**arguments, lengths=lengths)

    # JAX turns an invalid argument into either, depending on how it dispatches the call.
    either = (jax.errors.JaxRuntimeError, ValueError)
    with pytest.raises(either, match="ValueError: lengths.* 7"):
        jax.block_until_ready(
            (jax.jit(function) if compiled else function)(jnp.asarray([6, 7, 3, 4]))
        )
    y, _, _ = function(jnp.asarray([6, 5, 3, 4]))  # works on after an error
    assert jnp.isfinite(y).all()


def test_other_devices():
    arguments = draw("float32")
    traced = jax.jit(lambda given: lstm(**given)).trace(arguments)
    with pytest.raises(NotImplementedError, match="expected arrays on the CPU, got .* for tpu"):
        traced.lower(lowering_platforms=("tpu",))

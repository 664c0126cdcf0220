"""Words of Keras: its names of options, and arguments that are accepted with one value only."""

from typing import Any, NamedTuple

from lstmcore import _checks
from lstmcore.config import OPTIONS

__all__ = ["CONFIG_NAMES", "check_keras"]

CONFIG_NAMES = {
    option.layer_name: option.name
    for option in OPTIONS
    if option.layer_name not in (None, option.name)
}
"""What `LSTMConfig` calls the options that Keras, and so the layers, name differently."""


class _Word(NamedTuple):
    accepted: tuple[Any, ...]
    reason: str


WORDS = {
    "bias_initializer": _Word(
        ("zeros",),
        "biases start at 0, except the forget gate's, which unit_forget_bias and forget_bias set",
    ),
    "activity_regularizer": _Word((None,), "penalties apply to weights only"),
    "unroll": _Word((False,), "the loop over time is compiled code, with nothing to unroll"),
    "time_major": _Word((False,), "arrays are (N, T, C); pass x.swapaxes(0, 1)"),
    "implementation": _Word((1, 2), "these are Keras' two ways to compute the same result"),
    "use_cudnn": _Word(("auto", False), "the engine runs on the CPU"),
    "backward_layer": _Word((None,), "both directions have the same options"),
}


def check_keras(**given: Any) -> None:
    """Check that arguments of Keras have values that agree with what the layers do.

    Raises
    ------
    ValueError
        If one has another value.
    """
    for name, value in given.items():
        word = WORDS[name]
        if not any(type(value) is type(one) and value == one for one in word.accepted):
            expected = " or ".join(map(repr, word.accepted))
            raise ValueError(
                f"{name}: expected {expected}, got {_checks.describe(value)}; {word.reason}"
            )

"""Words of Keras: other names of options, and arguments that have only one right value here."""

from typing import Any, NamedTuple

from lstmcore import _checks

__all__ = ["CONFIG_NAMES", "check_keras"]

CONFIG_NAMES = {
    "units": "hidden_size",
    "activation": "cell_activation",
    "recurrent_activation": "gate_activation",
    "use_bias": "bias",
}
"""What `LSTMConfig` calls the options that Keras, and so the layers, name differently."""


class _Word(NamedTuple):
    accepted: tuple[Any, ...]
    reason: str


WORDS = {
    "bias_initializer": _Word(
        ("zeros",),
        "biases begin at 0, but the forget gate's, for which there are unit_forget_bias and "
        "forget_bias",
    ),
    "activity_regularizer": _Word((None,), "there are penalties on weights only"),
    "unroll": _Word((False,), "the walk through time is compiled code, with nothing to unroll"),
    "time_major": _Word((False,), "arrays are (N, T, C); pass x.swapaxes(0, 1)"),
    "implementation": _Word((1, 2), "these are Keras' two ways to compute the same"),
    "use_cudnn": _Word(("auto", False), "the engine runs on the CPU"),
    "backward_layer": _Word((None,), "the second direction is made like the first"),
}


def check_keras(**given: Any) -> None:
    """Accept arguments of Keras that say what is computed here anyway.

    Raises
    ------
    ValueError
        If a value is another.
    """
    for name, value in given.items():
        word = WORDS[name]
        if not any(type(value) is type(one) and value == one for one in word.accepted):
            expected = " or ".join(map(repr, word.accepted))
            raise ValueError(
                f"{name}: expected {expected}, got {_checks.describe(value)}; {word.reason}"
            )

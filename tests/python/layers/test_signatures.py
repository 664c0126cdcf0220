"""Constructors with ``**options`` show every option in their signature and docstring."""

import inspect
import pydoc
from typing import get_type_hints

import pytest

import lstmcore as lc
from lstmcore._signatures import shows_options

CLASSES = [lc.layers.LSTM, lc.layers.LSTMCell]


@pytest.mark.parametrize("kind", CLASSES)
def test_options_have_the_defaults_of_a_configuration(kind):
    shown = inspect.signature(kind).parameters
    config = inspect.signature(lc.LSTMConfig).parameters
    assert not any(entry.kind is entry.VAR_KEYWORD for entry in shown.values())
    for name in ("peephole", "gate_clip", "zoneout_c", "proj_size", "layer_norm_epsilon"):
        assert shown[name].default == config[name].default
        assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
    for name, other in (("activation", "cell_activation"), ("use_bias", "bias")):
        assert shown[name].default == config[other].default
    made = kind(4)
    for name in shown.keys() - set(kind._keras_only) - {"units", "dropout"}:
        assert getattr(made, name) == shown[name].default


@pytest.mark.parametrize("kind", CLASSES)
def test_every_parameter_has_a_type_and_one_description(kind):
    kinds = get_type_hints(kind.__init__)
    section = kind.__doc__.split("----------\n")[1].split("\n\nNotes")[0]
    described = [
        name
        for line in section.splitlines()
        if not line.startswith(" ")
        for name in line.partition(" : ")[0].split(", ")
    ]
    assert sorted(described) == sorted(inspect.signature(kind).parameters)
    assert kinds.keys() - {"return"} == set(described)


def test_help_shows_the_options():
    text = pydoc.render_doc(lc.layers.LSTM, renderer=pydoc.plaintext)
    assert "zoneout_h: float = 0.0" in text
    assert "Krueger et al. 2016" in text
    assert "**options" not in text


class Source:
    """Where options are described.

    Parameters
    ----------
    a, b : int
        Two numbers.

        In two paragraphs.
    c : str, default "c"
        A text.

    Notes
    -----
    Not about the parameters.
    """


def parameters(*names):
    keyword = inspect.Parameter.KEYWORD_ONLY
    return {name: inspect.Parameter(name, keyword, default=0, annotation=int) for name in names}


def test_options_replace_the_placeholder():
    @shows_options(parameters("c", "b", "last"), Source, before="first")
    class Shown:
        """A class.

        Parameters
        ----------
        first : int
            Own.
        **options
            See `Source`.
        last : int
            An option with a description of its own.

        Notes
        -----
        The end.
        """

        def __init__(self, start: int, *, first: int = 1, **options):
            pass

    assert str(inspect.signature(Shown)) == (
        "(start: int, *, c: int = 0, b: int = 0, last: int = 0, first: int = 1)"
    )
    assert Shown.__doc__ == (
        "A class.\n\nParameters\n----------\nfirst : int\n    Own.\n"
        'c : str, default "c"\n    A text.\n'
        "b : int\n    Two numbers.\n\n    In two paragraphs.\n"
        "last : int\n    An option with a description of its own.\n\n"
        "Notes\n-----\nThe end."
    )


def test_an_option_that_nothing_describes():
    with pytest.raises(ValueError, match="no docstring describes d"):

        @shows_options(parameters("c", "d"), Source)
        class Shown:
            """A class.

            Parameters
            ----------
            **options
                See `Source`.
            """

            def __init__(self, **options):
                pass

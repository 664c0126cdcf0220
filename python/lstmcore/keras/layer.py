"""`LSTM`, Keras' layer on the engine."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras.src import api_export

from lstmcore.keras import inner


class LSTM(keras.layers.LSTM):
    """``keras.layers.LSTM`` computed by lstmcore's engine, forward and backward.

    Arguments, weights, results and gradients are those of ``keras.layers.LSTM``, up to the rounding
    of float32 or float64. With the same seeds, dropout drops the same units. The layer serves
    functional models, ``Bidirectional``, masks, initial states, ``stateful`` and compiled training.

    Calls that the engine does not compute run in Keras' own loop, and `accelerated_calls` names the
    reason: activations that the engine lacks; float16, bfloat16 and mixed precision;
    ``recurrent_dropout`` while training; devices other than the CPU; ``jit_compile=True`` with
    TensorFlow; programs that are exported; backends other than PyTorch, TensorFlow and JAX.

    Files, configurations and copies made from a configuration name ``keras.layers.LSTM``: a saved
    model loads without lstmcore, as Keras' layer, which `accelerate` puts on the engine.

    Parameters
    ----------
    units : int
        Hidden units, H.
    **kwargs
        As in ``keras.layers.LSTM``.

    Raises
    ------
    ValueError
        As in ``keras.layers.LSTM``.

    Notes
    -----
    Call arguments are ``sequences``, shape (N, T, C), ``initial_state``, a list of h and c, each
    (N, H), ``mask``, bool of shape (N, T), and ``training``. The output is h of the last step,
    (N, H), or with ``return_sequences`` of all steps, (N, T, H), followed with ``return_state`` by
    the last h and c. Formula: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al.
    2000.
    """

    # Of its own, since some versions of Python would show the signature of Keras' `__new__`.
    __init__ = keras.layers.LSTM.__init__

    @property
    def supports_jit(self) -> bool:
        """Whether XLA may compile models with this layer; in TensorFlow it cannot call us."""
        return keras.backend.backend() != "tensorflow" and bool(vars(self).get("_jit", True))

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self.__dict__["_jit"] = value

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: Any = False
    ) -> Any:
        """Return the last output, all outputs and the states; Keras calls this method."""
        own = keras.layers.LSTM.inner_loop
        return inner.inner_loop(own, self, sequences, initial_state, mask, training)


# Keras' serialization then writes what it writes for its own layer.
api_export.REGISTERED_OBJS_TO_NAMES.update({LSTM: "keras.layers.LSTM"})


def _keep_class(initialize: Any) -> Any:
    """Return the constructor of Bidirectional, changed to keep the class of the layer given.

    Keras makes both directions from the configuration of the layer, which names Keras' class.
    """

    # Keras looks at the signature, so that this is its own.
    @functools.wraps(initialize)
    def initialize_and_keep(
        self: Any,
        layer: Any,
        merge_mode: Any = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        initialize(self, layer, merge_mode, weights, backward_layer, **kwargs)
        if type(layer) is LSTM:
            made = [self.forward_layer]
            if backward_layer is None:
                made.append(self.backward_layer)
            for direction in made:
                object.__setattr__(direction, "__class__", LSTM)

    return initialize_and_keep


keras.layers.Bidirectional.__init__ = _keep_class(keras.layers.Bidirectional.__init__)

"""The undivided model, for calls whose LSTMs are too small to be worth leaving ONNX Runtime for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.folding import may_fold
from lstmcore.onnx.graph import graphs_of, label_of
from lstmcore.onnx.guard_nodes import OLDEST
from lstmcore.onnx.operators.lstm import QUANTIZED, WORK
from lstmcore.onnx.parts import opened_session, quick_run, runtime

__all__ = ["Whole", "may_stay_whole"]

SMALL = 8_000_000
"""Multiplications of an LSTM's call that take about as long as 20 times what leaving costs.

Leaving a session and entering the next one takes 10 to 20 microseconds for every LSTM, and a single
row's steps, which wait for the weights, are no faster on the engine than in ONNX Runtime.
"""

LARGE = 1 << 26
"""Bytes of a model that is not held twice."""

MOST = 1024
"""Combinations of shapes to remember."""


def may_stay_whole(model: Any, opset: int) -> bool:
    """Return whether ONNX Runtime computes the same as the engine with all LSTMs of a model.

    Models by versions of the standard that are too old for guards are always divided.
    """
    small = opset >= OLDEST and model.ByteSize() <= LARGE
    ready = small and runtime() is not None and _is_plain(model.graph)
    return ready and may_fold(model.graph)


def _is_plain(graph: Any) -> bool:
    """Return whether no LSTM of a graph has something that ONNX Runtime computes differently."""
    for proto in graph.node:
        label = label_of(proto)
        names = {entry.name for entry in proto.attribute}
        lengths = len(proto.input) > 4 and proto.input[4] != ""
        if label == QUANTIZED or (label == "LSTM" and (lengths or names & {"clip", "layout"})):
            return False
        if not all(map(_is_plain, graphs_of(proto))):
            return False
    return True


class Whole:
    """Decides, by the shapes of the inputs, which calls a session of the whole model runs.

    Parameters
    ----------
    model : bytes
        The model as a file holds it.
    inputs, outputs : sequence of str
        Their names.
    divided : callable
        Checks the inputs, a mapping by name, and runs the divided model.
    """

    def __init__(
        self,
        model: bytes,
        inputs: Sequence[str],
        outputs: Sequence[str],
        divided: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> None:
        self._model: bytes | None = model
        self._evaluate: Callable[..., Sequence[Any]] | None = None
        self._inputs, self._outputs = tuple(inputs), list(outputs)
        self._divided = divided
        self._small: dict[Any, bool] = {}
        self._lock = Lock()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs.

        Errors are those of the divided model, which checks more, and names what is wrong.
        """
        try:
            key = tuple([(inputs[name].__class__, inputs[name].shape) for name in self._inputs])
            small = self._small.get(key)
        except (TypeError, LookupError, AttributeError):
            return self._divided(inputs)
        if small is None:
            return self._first(key, inputs)
        if small and self._evaluate is not None:
            try:
                found = self._evaluate(self._outputs, inputs)
                return dict(zip(self._outputs, found, strict=True))
            except MemoryError:
                raise
            except Exception:
                pass
        return self._divided(inputs)

    def _first(self, key: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the divided model with inputs of new shapes, and see how much its LSTMs do."""
        done: list[int] = []
        token = WORK.set(done)
        try:
            results = self._divided(inputs)
        finally:
            WORK.reset(token)
        small = bool(done) and sum(done) < SMALL * len(done) and self._is_open()
        small = small and all(kind is np.ndarray for kind, _ in key)
        if len(self._small) >= MOST:
            self._small.clear()
        self._small[key] = small
        return self.run(inputs) if small else results  # the same bits in every call of these shapes

    def _is_open(self) -> bool:
        """Return whether ONNX Runtime runs the whole model; open its session the first time."""
        with self._lock:
            if self._model is not None:
                with contextlib.suppress(Exception):
                    self._evaluate = quick_run(opened_session(runtime(), self._model, True))
                self._model = None
            return self._evaluate is not None

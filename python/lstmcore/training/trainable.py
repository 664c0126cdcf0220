"""What training needs from a model: a protocol, since models import training, never vice versa."""

# ruff: noqa: D102 - the models document these members.

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from lstmcore._intake import Intake
from lstmcore._typing import Array, State
from lstmcore.layers import Layer
from lstmcore.layers.parameters import Parameters
from lstmcore.layers.states import ModelState
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.carry import Carry
from lstmcore.training.compiled import Compiled
from lstmcore.training.data import Examples
from lstmcore.training.joint import Joint
from lstmcore.training.optimizers import Optimizer
from lstmcore.training.samples import Samples

__all__ = ["Trainable"]


class Trainable(Protocol):
    """A model as callbacks and the training loop see it; `Sequential` and `Model` are two.

    A model with several outputs has lists of shapes, outputs, lengths and gradients in place of
    one of each, and is compiled as a `Joint`.

    The public half is what a callback may use of ``self.model``; it is documented where models
    define it. The rest is for this package.
    """

    # ---- for callbacks -----------------------------------------------------------------------

    epoch: int
    stop_training: bool

    @property
    def seed(self) -> int: ...
    @property
    def dtype(self) -> "np.dtype[Any]": ...
    @property
    def layers(self) -> list[Layer]: ...
    @property
    def built(self) -> bool: ...
    @property
    def output_shape(self) -> Any: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def weights(self) -> dict[str, Array]: ...
    @property
    def is_compiled(self) -> bool: ...
    @property
    def compiled(self) -> Compiled | Joint: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def state(self) -> ModelState | None: ...
    @state.setter
    def state(self, state: State) -> None: ...
    def get_weights(self) -> list[Array]: ...
    def set_weights(self, weights: Sequence[Array] | Mapping[str, Array]) -> None: ...
    def evaluate(self, *args: Any, **options: Any) -> Any: ...
    def save(self, path: "str | os.PathLike[str]", *, include_optimizer: bool = True) -> None: ...

    # ---- for the loop ------------------------------------------------------------------------

    def _forward_from(
        self,
        inputs: Any,
        lengths: Array | None,
        training: bool,
        seed: int,
        logits: Any,
        state: ModelState,
        reset: Array | None = None,
    ) -> tuple[Any, Any, Any, ModelState]: ...
    def backward(self, contexts: Any, dy: Any) -> None: ...
    def _follow_trainable(self) -> None: ...
    def _begin_epoch(self, epoch: int) -> None: ...
    def _keep_callback_states(self, states: Sequence[CallbackState]) -> None: ...
    @property
    def _is_fitting(self) -> bool: ...

    # ---- for the arguments of `fit` and `evaluate` -------------------------------------------

    @property
    def _batch_rank(self) -> int: ...
    def _learn_vocabularies(self, samples: Samples) -> None: ...
    def _examples(self, samples: Samples, intake: Intake, windows: bool = False) -> Examples: ...
    def _carry(
        self,
        tbptt: int | None,
        stateful: bool | None,
        state: Any,
        batch_size: int | None,
        intake: Intake | None = None,
    ) -> Carry: ...
    def _check_head(self) -> None: ...
    def _check_passes_state(self, name: str) -> None: ...
    def _check_state(
        self,
        state: Any,
        rows: int | None = None,
        name: str = "state",
        intake: Intake | None = None,
    ) -> ModelState: ...
    def _check_trains(self) -> None: ...
    def _unchanged_on_error(self, *others: Any) -> AbstractContextManager[None]: ...

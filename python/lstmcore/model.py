"""The model: layers one after the other, trained and used in Keras' words."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Shape
from lstmcore.layers import Input, Layer
from lstmcore.network import Network
from lstmcore.training import checkpoint, loop
from lstmcore.training.callback_list import CallbackList, CallbackState
from lstmcore.training.callbacks import Callback, History
from lstmcore.training.compiled import Compiled
from lstmcore.training.data import Examples
from lstmcore.training.losses import Loss
from lstmcore.training.metrics import Metric
from lstmcore.training.optimizers import Optimizer
from lstmcore.training.prepare import add_targets, split
from lstmcore.training.progress import reporters
from lstmcore.training.summary import summarize

__all__ = ["Sequential", "load"]


class Sequential(Network):
    """Layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer, optional
        `Input` may stand first; then the model is built at once, else by the first data it sees.
        `TextVectorization` may stand first; then the model takes strings.
    seed : int, default 0
        Of everything random: initial values, dropout, order of the samples.
    dtype : {"float32", "float64"}
        Of all weights and of all inputs and targets that are not integers or text.

    Attributes
    ----------
    layers : list of Layer
    parameters : Parameters
        All weights in one flat array, and all gradients.
    epoch : int
        Epochs trained, where a resumed training begins: ``fit(..., initial_epoch=model.epoch)``.
    history : History or None
        Of the last `fit`.
    stop_training : bool
        Set by callbacks to end the training.

    Notes
    -----
    Inputs are arrays (N, T) of token ids, (N, T, C) or (N, C) of values, or strings; or a list of N
    rows of different lengths, ids (T_i,) or values (T_i, C), which are batched by length.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Input] | None = None,
        *,
        seed: int = 0,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(layers, seed, dtype)
        self.epoch = 0
        self.history: History | None = None
        self.stop_training = False
        self._compiled: Compiled | None = None
        self._class_names: list[str] | None = None
        self._listeners: CallbackList | None = None
        self._callback_states: list[CallbackState] = []

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, in the order of the outputs; saved with the model.

        Two for a single output: what it is when it is near 0, and near 1. None if there are none.
        """
        return None if self._class_names is None else list(self._class_names)

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        if names is not None:
            names = _checks.class_names(names)
            if self.built:
                self.check_class_names(names)
        self._class_names = names

    def check_class_names(self, names: Sequence[str]) -> None:
        """Raise ValueError unless there are as many names as the outputs have classes."""
        units = self.output_shape[-1]
        count = 2 if units == 1 else units
        if len(names) != count:
            raise ValueError(
                f"class_names: expected {count} names for a model with {units} outputs, "
                f"got {len(names)}"
            )

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print a table of the layers, their output shapes and numbers of parameters.

        Parameters
        ----------
        print_fn : callable, default print
            Called with each line.
        """
        shapes: list[Shape | None] = [*self._shapes] if self.built else [None] * len(self.network)
        if self.vectorizer:
            shapes.insert(0, (None, None))
        for line in summarize(self.layers, shapes):
            print_fn(line)

    def predict(self, x: Any, batch_size: int = 32, verbose: int | str = "auto") -> Any:
        """Compute the outputs, batch by batch.

        Parameters
        ----------
        x : array_like, or list of array_like
            See `Sequential`.
        batch_size : int, default 32
            Changes the speed, not the result.
        verbose : {0, 1, 2, "auto"}
            Whether to show a progress bar; none if 0, 2 or not on a terminal.

        Returns
        -------
        ndarray, shape (N, U) or (N, T, U), or list of ndarray, each of shape (T_i, U)
            In the order of `x`; a list if the input is ragged and the outputs have a time axis.
        """
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        examples = self._inputs(x)
        if len(examples) == 0:
            steps = [examples.output_steps(size) for size in examples.inputs.shape[1:2]]
            middle = steps if len(self.output_shape) > 2 else ()
            return np.empty((0, *middle, *self.output_shape[1 + len(middle) :]), self.dtype)
        return loop.predict(self, examples, batch_size, verbose)

    # ---- training ----------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Optimizer | str = "rmsprop",
        loss: Loss | str | None = None,
        metrics: Sequence[Metric | str] | None = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : Optimizer or {"sgd", "rmsprop", "adam", "adamw"}
        loss : Loss or str
            "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy",
            "mse" or "mae".
        metrics : sequence of Metric or str, optional
            "accuracy" stands for the one that fits the loss.

        Raises
        ------
        ValueError
            If a name is unknown or things do not fit.
        """
        if not self.network:
            raise ValueError("compile: the model has no layers")
        if loss is None:
            raise ValueError("loss: expected a Loss or its name, got None")
        last = self.network[-1].last_activation
        self._compiled = Compiled.make(optimizer, loss, metrics, last)

    def set_compiled(self, compiled: Compiled) -> None:
        """Set what `compile` makes."""
        self._compiled = compiled

    @property
    def is_compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compiled is not None

    @property
    def compiled(self) -> Compiled:
        """What `compile` made."""
        if self._compiled is None:
            raise ValueError("the model is not compiled yet; call compile(optimizer, loss)")
        return self._compiled

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self.compiled.optimizer

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        *,
        validation_batch_size: int | None = None,
    ) -> History:
        """Train.

        Parameters
        ----------
        x : array_like, or list of array_like
            Inputs; see `Sequential`.
        y : array_like
            Targets: (N,) or (N, T) numbers of classes, of any integer type; (N, U) or (N, T, U)
            values, of the model's dtype or integers. Entries per time step may also be a list.
        batch_size : int, default 32
        epochs : int, default 1
            Number of the epoch at which training ends.
        verbose : {0, 1, 2, "auto"}
            0: nothing; 1 and "auto": a progress bar, if on a terminal; 2: a line for each epoch.
        callbacks : sequence of Callback, optional
        validation_split : float, default 0.0
            Share of the samples, the last ones, that are not trained on but evaluated.
        validation_data : tuple, optional
            (x, y) or (x, y, sample_weight) to evaluate instead.
        shuffle : bool, default True
            Whether the order of the samples is drawn anew in each epoch. If not, ragged samples
            are not batched by length either.
        class_weight : mapping of int to float, optional
            Weight of the samples of each class, times `sample_weight`; 1 for others.
        sample_weight : array_like, shape (N,) or (N, T), optional
            Weights in the loss, not in metrics; converted to the model's dtype.
        initial_epoch : int, default 0
            Epoch to begin with. If it is `epoch`, the training is resumed: callbacks of the same
            classes go on where those of the last `fit`, or of the saved one, were.
        validation_batch_size : int, optional
            None: `batch_size`.

        Returns
        -------
        History

        Raises
        ------
        TypeError, ValueError
            If something does not fit; nothing is changed then.
        """
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        if validation_batch_size is None:
            validation_batch_size = batch_size
        validation_batch_size = _checks.integer(validation_batch_size, "validation_batch_size", 1)
        epochs = _checks.integer(epochs, "epochs", 1)
        initial_epoch = _checks.integer(initial_epoch, "initial_epoch", 0)
        shuffle = _checks.flag(shuffle, "shuffle")
        history = History()
        listeners = CallbackList([*(callbacks or []), history, *reporters(verbose)], self)
        with self.unchanged_on_error(self.optimizer):
            examples = self._examples(x, y, sample_weight, class_weight)
            validation = self._validation(validation_data)
            if validation is None and validation_split != 0.0:
                examples, validation = split(examples, validation_split)
            if self.parameters.values.size == 0:
                raise ValueError("fit: the model has no weights to train")
            self.optimizer.build(self.parameters)
            self.history = history
            self.stop_training = False
            self._begin(listeners, epochs, initial_epoch, len(examples), batch_size, validation)
        try:
            loop.fit(
                self,
                examples,
                validation,
                listeners,
                batch_size=batch_size,
                validation_batch_size=validation_batch_size,
                epochs=epochs,
                initial_epoch=initial_epoch,
                shuffle=shuffle,
            )
        finally:
            self._listeners = None
        return history

    def _begin(
        self,
        listeners: CallbackList,
        epochs: int,
        initial_epoch: int,
        samples: int,
        batch_size: int,
        validation: Examples | None,
    ) -> None:
        """Tell callbacks that the training begins, and where it stopped if it is resumed."""
        names = ["loss", *(metric.name for metric in self.compiled.metrics)]
        if validation is not None:
            names += [f"val_{name}" for name in names]
        steps = -(-samples // batch_size)
        plan = {"epochs": epochs, "steps": steps, "initial_epoch": initial_epoch}
        listeners.set_params(plan, names)
        listeners.on_train_begin()
        if initial_epoch > 0 and initial_epoch == self.epoch:
            try:
                listeners.set_states(self._callback_states)
            except BaseException:
                listeners.on_train_end({})
                raise
        self._listeners = listeners

    @property
    def callback_states(self) -> list[CallbackState]:
        """What the callbacks of the `fit` that runs, or of the last one, remember."""
        return self._callback_states if self._listeners is None else self._listeners.states()

    def keep_callback_states(self, states: Sequence[CallbackState]) -> None:
        """Keep `states` for a `fit` that goes on at the epoch where they were."""
        self._callback_states = list(states)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_listeners": None,
            "_callback_states": self.callback_states,
        }

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        *,
        return_dict: bool = False,
    ) -> Any:
        """Compute loss and metrics.

        Parameters
        ----------
        x, y, batch_size, sample_weight
            As in `fit`.
        verbose : {0, 1, 2, "auto"}
            As in `predict`.
        return_dict : bool, default False
            Whether to give them by name.

        Returns
        -------
        float, list of float, or dict of str to float
            The loss; with metrics, a list of the loss and them.
        """
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        examples = self._examples(x, y, sample_weight, None)
        return _results(loop.evaluate(self, examples, batch_size, verbose), return_dict)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Make one step with all samples; arguments and result as in `fit` and `evaluate`."""
        examples = self._examples(x, y, sample_weight, class_weight)
        totals = loop.Totals(self.compiled)
        loop.train_step(self, examples.batch(slice(None)), totals)
        return _results(totals.logs(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute loss and metrics of all samples at once; as in `evaluate`."""
        examples = self._examples(x, y, sample_weight, None)
        totals = loop.Totals(self.compiled)
        loop.test_step(self, examples.batch(slice(None)), totals)
        return _results(totals.logs(), return_dict)

    # ---- files -------------------------------------------------------------------------------

    def save(self, path: "str | os.PathLike[str]", *, include_optimizer: bool = True) -> None:
        """Write the model to one safetensors file, atomically.

        Parameters
        ----------
        path : str or path
            Replaced if it is there.
        include_optimizer : bool, default True
            Whether also what is needed to go on training: the optimizer, its slots, loss, metrics,
            the numbers of steps and epochs taken, and what callbacks remember.

        Raises
        ------
        TypeError
            If `path` is no path.
        ValueError
            If the model is not built.
        """
        checkpoint.save(self, path, _checks.flag(include_optimizer, "include_optimizer"))

    @staticmethod
    def load(
        path: "str | os.PathLike[str]", custom_objects: Mapping[str, type] | None = None
    ) -> "Sequential":
        """Read a model; see `lstmcore.load`."""
        return load(path, custom_objects)

    # ---- checks ------------------------------------------------------------------------------

    def _examples(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None
    ) -> Examples:
        loss = self.compiled.loss
        with nullcontext() if self.built else self.unchanged_on_error():
            inputs = self._inputs(x)
            return add_targets(
                inputs, loss, self.output_shape, self.dtype, y, sample_weight, class_weight
            )

    def _validation(self, data: Any) -> Examples | None:
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight)")
        try:
            return self._examples(data[0], data[1], data[2] if len(data) == 3 else None, None)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from error


def load(
    path: "str | os.PathLike[str]", custom_objects: Mapping[str, type] | None = None
) -> Sequential:
    """Read a model that `Sequential.save` wrote.

    Parameters
    ----------
    path : str or path
    custom_objects : mapping of str to type, optional
        Classes of your own, by name: layers, losses, metrics, optimizers, schedules.

    Returns
    -------
    Sequential
        Compiled, with the state of its optimizer, if that was saved: `fit` goes on as if it had
        not stopped.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError
        If `path` is no path.
    ValueError
        If it is truncated, changed or of a newer format, or if tensors are unknown, missing, of the
        wrong shape or type.
    """
    return checkpoint.load(path, custom_objects)


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    if _checks.flag(return_dict, "return_dict"):
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values

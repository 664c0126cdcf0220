"""How every model is trained and evaluated, with Keras' names."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, overload

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import suggests
from lstmcore._typing import (
    Array,
    ArrayLike,
    DType,
    Inputs,
    Named,
    OnNan,
    State,
    ValidationData,
    Verbose,
)
from lstmcore.layers.states import ModelState
from lstmcore.models.compilable import Compilable
from lstmcore.training import fitting, loop
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.callbacks import Callback, History
from lstmcore.training.carry import Carry
from lstmcore.training.curriculum import Curriculum
from lstmcore.training.data import Examples
from lstmcore.training.division import Distribution
from lstmcore.training.samples import Samples

__all__ = ["Trained"]


class Trained(Compilable):
    """A model that can be trained and evaluated; `Stored` adds files and the summary.

    Parameters
    ----------
    seed, dtype
        As in `Sequential`.

    Attributes
    ----------
    parameters : Parameters
        All weights in one flat array, and all gradients.
    epoch : int
        Number of the last epoch that `fit` completed, counted from 1; 0 before any. An epoch that
        was interrupted does not count, and `EarlyStopping` leaves the number as it is when it
        restores weights. To resume training after it, pass ``fit(..., initial_epoch=model.epoch)``.
    history : History or None
        Of the last `fit`.
    stop_training : bool
        Set by callbacks to end the training.
    """

    _open_attributes = ("epoch", "history", "stop_training")

    def __init__(self, seed: int, dtype: DType) -> None:
        super().__init__(seed, dtype)
        self.epoch = 0
        self.history: History | None = None
        self.stop_training = False
        self._metadata: dict[str, str] = {}
        self._listeners: CallbackList | None = None
        self._callback_states: list[CallbackState] = []
        self._state: ModelState | None = None

    # ---- training ----------------------------------------------------------------------------

    def _forget_training(self) -> None:
        """Forget the last `fit`: its history, epochs and states."""
        self.epoch, self.history, self.stop_training = 0, None, False
        self._listeners, self._callback_states, self._state = None, [], None

    @suggests
    def fit(
        self,
        x: Inputs,
        y: Inputs | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Verbose = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: ValidationData | None = None,
        shuffle: bool | None = None,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Named | None = None,
        initial_epoch: int = 0,
        *,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        tbptt: int | None = None,
        stateful: bool | None = None,
        state: State | None = None,
        reset: ArrayLike | None = None,
        mask: Named | None = None,
        curriculum: Curriculum | None = None,
        check_finite: bool = True,
        on_nan: OnNan = "raise",
        distributed: Distribution | None = None,
    ) -> History:
        """Train.

        Parameters
        ----------
        x : array_like, list of array_like, or iterable of batches
            Inputs; see `Sequential`. Or a generator, an iterable such as PyTorch's `DataLoader`, or
            a sequence with ``__len__`` and ``__getitem__`` such as Keras' `PyDataset`, of tuples
            (x, y) or (x, y, sample_weight), each one batch; `y`, `sample_weight`, `batch_size`,
            `validation_split`, `shuffle`, `reset` and `mask` cannot be combined with it.
        y : array_like
            Targets: (N,) or (N, T) class numbers; (N, U) or (N, T, U) values. Entries per time
            step may also be a list. In x and y, numbers of any type are converted: ids and classes,
            which must be whole, to int64, and others to the model's dtype.
        batch_size : int, optional
            None: 32.
        epochs : int, default 1
            The number of the last epoch.
        verbose : {0, 1, 2, "auto"} or bool
            0: nothing; 2: a line for each epoch, and one that says what the training did; 1 and
            "auto": the same and, in a terminal or a notebook, a bar for the batches.
        callbacks : sequence of Callback, or Callback, optional
        validation_split : float, default 0.0
            Share of the samples that is held out for evaluation; they are taken from the end.
        validation_data : tuple, or iterable of batches, optional
            (x, y) or (x, y, sample_weight) to evaluate instead, or batches as for `x`.
        shuffle : bool, optional
            Whether the samples are shuffled before each epoch. If not, ragged samples are not
            batched by length either. None: yes, unless `stateful`.
        class_weight : mapping of int to float, optional
            Weight of the samples of each class in training, multiplied by `sample_weight`; 1 for
            classes that are not listed. Validation ignores it.
        sample_weight : array_like, shape (N,) or (N, T), optional
            Weights in the loss and in `weighted_metrics`, not in `metrics`, converted to the
            model's dtype. Where a weight is 0, y may be anything, such as NaN or -1, and metrics
            ignore entries that are not valid targets.
        initial_epoch : int, default 0
            Epoch to begin with, counted from 0, so the number of epochs already done; at most
            `epochs`. If it equals the attribute `epoch`, the training is resumed: callbacks of the
            same classes continue from the state of those of the last `fit`, or of the saved one.
        steps_per_epoch : int, optional
            Batches of an epoch. An iterator then continues where the previous epoch stopped, and so
            does an iterable, which starts over at its end. None: all batches; an iterator, which
            can be consumed only once, then serves a single epoch.
        validation_steps : int, optional
            Batches to validate on: the first ones, the same after each epoch, except for an
            iterator, which continues. None: as for `steps_per_epoch`.
        validation_batch_size : int, optional
            None: `batch_size`.
        tbptt : int, optional
            Truncated backpropagation through time (Williams & Peng 1990): sequences are processed
            in windows of this many steps (the last may be shorter), with an optimizer step after
            each. The state passes from window to window but the gradient does not, so memory holds
            one window. For a `Sequential` with targets at every step and layers that walk forwards
            only. x, y, `sample_weight` and `reset` may then be anything that is sliced by
            [rows, steps] like an array, such as a ``numpy.memmap``, and is read window by window.
            None: the gradient through whole sequences.
        stateful : bool, optional
            Whether each batch continues the rows of the previous one, so that the state passes from
            batch to batch within an epoch. Not with `shuffle`, and only with whole batches. None:
            as the recurrent layers' `stateful`.
        state : mapping of str to LSTMState, optional
            With `stateful`, where each epoch begins; see `initial_state`. None: zeros.
        reset : array_like of bool, shape (N, T), optional
            True where a new sequence begins; a list of (T_i,) for ragged input. Not for validation
            data.
        mask : array_like of bool, shape (N, T), optional
            For a `Sequential` and an x (N, T) of ids or (N, T, C) of values: True at valid steps.
            The others are removed before anything is computed, so all layers see the sequences
            without gaps, as if x were a list of the rows ``x[n][mask[n]]``. So are the entries per
            time step of `y` and `sample_weight`, which may be anything at gaps. A reset at a masked
            step applies to the row's next valid step. Not with data that `tbptt` reads window by
            window, and not for validation data.
        curriculum : lstmcore.Curriculum, optional
            Which samples each epoch uses, from the easiest on. Not with batches from an iterable,
            and not with `stateful`.
        check_finite : bool, default True
            Whether NaN and infinities in x, y and `state` are refused. Masked steps, and steps past
            a row's end, may hold anything.
        on_nan : {"raise", "ignore"}
            What to do if the loss or a gradient is not finite. "raise": FloatingPointError before
            the step is made, so the weights are those after the previous step. If there is a
            `TerminateOnNaN` among the callbacks, it decides instead.
        distributed : lstmcore.distributed.MPI, optional
            Processes, on one machine or many, that each compute a part of every batch; all of them
            make this call. See `lstmcore.distributed`.

        Returns
        -------
        History

        Warns
        -----
        RuntimeWarning
            If finite values become infinite in the model's dtype.

        Raises
        ------
        TypeError, ValueError
            If something does not fit; the model is then unchanged, unless the error is in a later
            batch.
        FloatingPointError
            See `on_nan`. Callbacks have been notified that the training has ended.
        """
        self._check_has_optimizer("fit")
        return fitting.fit(
            self,
            Samples(x, y, sample_weight, class_weight, reset, mask),
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            tbptt=tbptt,
            stateful=stateful,
            state=state,
            curriculum=curriculum,
            check_finite=check_finite,
            on_nan=on_nan,
            distributed=distributed,
        )

    @property
    def _is_fitting(self) -> bool:
        """Whether `fit` is running."""
        return self._listeners is not None

    def _check_may_change(self, name: str) -> None:
        super()._check_may_change(name)
        if self._is_fitting:
            raise ValueError(f"{name}: fit is running; change the layers when it has ended")

    def _structure_changed(self) -> None:
        """Keep the arguments of `compile` if they still fit, and drop what the last `fit` left."""
        self._callback_states, self._state = [], None
        compiled = self._compiled
        if compiled is None:
            return
        compiled.optimizer._resize()
        self._compiled = None
        if self._network:
            with suppress(ValueError):  # the loss does not go with this activation
                self._compiled = compiled.for_activation(self._last_activation)

    @property
    def _states_of_callbacks(self) -> list[CallbackState]:
        """What the callbacks of the running `fit`, or of the last one, remember."""
        return self._callback_states if self._listeners is None else self._listeners.states()

    def _keep_callback_states(self, states: Sequence[CallbackState]) -> None:
        """Keep `states` for a `fit` that resumes at their epoch."""
        self._callback_states = list(states)

    @property
    def state(self) -> ModelState | None:
        """The state after the last batch of the last stateful `fit`; saved with the model.

        None if there was none. May be set. It is stored for your use and the library never reads
        it: ``fit(..., state=model.state)`` continues training with the steps that follow.
        """
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = None if state is None else self._check_state(state)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_listeners": None,
            "_callback_states": self._states_of_callbacks,
        }

    @overload
    def evaluate(
        self,
        x: Inputs,
        y: Inputs | None = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Named | None = None,
        *,
        steps: int | None = None,
        return_dict: Literal[False] = False,
        reset: ArrayLike | None = None,
        state: State | None = None,
        stateful: bool | None = None,
        mask: Named | None = None,
        check_finite: bool = True,
    ) -> Any: ...

    @overload
    def evaluate(
        self,
        x: Inputs,
        y: Inputs | None = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Named | None = None,
        *,
        steps: int | None = None,
        return_dict: Literal[True],
        reset: ArrayLike | None = None,
        state: State | None = None,
        stateful: bool | None = None,
        mask: Named | None = None,
        check_finite: bool = True,
    ) -> dict[str, float]: ...

    @suggests
    def evaluate(
        self,
        x: Inputs,
        y: Inputs | None = None,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        sample_weight: Named | None = None,
        *,
        steps: int | None = None,
        return_dict: bool = False,
        reset: ArrayLike | None = None,
        state: State | None = None,
        stateful: bool | None = None,
        mask: Named | None = None,
        check_finite: bool = True,
    ) -> Any:
        """Compute loss and metrics.

        Parameters
        ----------
        x, y, batch_size, sample_weight, check_finite
            As in `fit`.
        verbose : {0, 1, 2, "auto"} or bool
            0: nothing; "auto": a bar, in a terminal or a notebook; 2: a line with the results; 1:
            both.
        steps : int, optional
            How many batches; None: all. Required for an iterator that never ends.
        return_dict : bool, default False
            Whether to return a dict by name instead of a list.
        reset, state, stateful, mask
            As in `predict`.

        Returns
        -------
        float, list of float, or dict of str to float
            The loss; with metrics, a list of the loss and them.
        """
        return fitting.evaluate(
            self,
            Samples(x, y, sample_weight, None, reset, mask),
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            state=state,
            stateful=stateful,
            check_finite=check_finite,
            return_dict=return_dict,
        )

    @suggests
    def train_on_batch(
        self,
        x: Inputs,
        y: Inputs | None = None,
        sample_weight: Named | None = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        *,
        state: State | None = None,
        reset: ArrayLike | None = None,
        return_state: bool = False,
        mask: Named | None = None,
        check_finite: bool = True,
        on_nan: OnNan = "raise",
    ) -> Any:
        """Make one optimizer step on all samples.

        Parameters
        ----------
        x, y, sample_weight, class_weight, reset, mask, check_finite
            As in `fit`, except that x may not yield batches.
        return_dict
            As in `evaluate`.
        state : mapping of str to LSTMState, optional
            From which the recurrent layers begin; see `initial_state`. No gradient passes to
            earlier steps. None: zeros.
        return_state : bool, default False
            Whether to return the state after the last step as well.
        on_nan : {"raise", "ignore"}
            As in `fit`: "raise" leaves the weights as they were before the call.

        Returns
        -------
        float, list of float, or dict of str to float
            As in `evaluate`; with `return_state` a pair of that and the state.

        Raises
        ------
        TypeError, ValueError
            If something does not fit; the model is then unchanged.
        FloatingPointError
            See `on_nan`.
        """
        self._check_has_optimizer("train_on_batch")
        given = Samples(x, y, sample_weight, class_weight, reset, mask)
        flags = (check_finite, return_dict, return_state)
        return fitting.on_batch(self, loop.train_step, given, state, *flags, on_nan)

    @suggests
    def test_on_batch(
        self,
        x: Inputs,
        y: Inputs | None = None,
        sample_weight: Named | None = None,
        return_dict: bool = False,
        *,
        state: State | None = None,
        reset: ArrayLike | None = None,
        return_state: bool = False,
        mask: Named | None = None,
        check_finite: bool = True,
    ) -> Any:
        """Compute loss and metrics of all samples at once; as `train_on_batch`, without a step."""
        given = Samples(x, y, sample_weight, None, reset, mask)
        flags = (check_finite, return_dict, return_state)
        return fitting.on_batch(self, loop.test_step, given, state, *flags)

    # ---- what a file holds besides the weights -------------------------------------------------

    @property
    def metadata(self) -> dict[str, str]:
        """Your own texts, by name, saved with the model; the library never reads them.

        This is a copy: to change it, set the whole mapping. The name "lstmcore" is reserved.
        """
        return dict(self._metadata)

    @metadata.setter
    def metadata(self, texts: Mapping[str, str]) -> None:
        self._metadata = _checks.metadata(texts)

    def _document(self) -> dict[str, Any]:
        """Return what a model file says about the model's structure."""
        raise NotImplementedError

    def save(self, path: "str | os.PathLike[str]", *, include_optimizer: bool = True) -> None:
        """Write the model to a file, as `ModelCheckpoint` does; see `Model.save`."""
        raise NotImplementedError

    # ---- what a subclass adds ------------------------------------------------------------------

    @property
    def _batch_rank(self) -> int:
        """The number of axes of x for one batch; 1 for texts."""
        raise NotImplementedError

    def _output_rows(self, x: Any, y: Any, batch_size: int, mask: Any) -> Array:
        """Compute the outputs of all valid steps as rows (M, U)."""
        raise NotImplementedError

    def _begin_epoch(self, epoch: int) -> None:
        """Note that `fit` begins an epoch, for anything that depends on its number."""

    def _learn_vocabularies(self, samples: Samples) -> None:
        """Learn from the pairs in memory that `fit` was passed what building the model needs."""

    def _examples(self, samples: Samples, intake: Intake, windows: bool = False) -> Examples:
        """Check samples and targets; with `windows` they may be `Streamed`."""
        raise NotImplementedError

    def _carry(
        self,
        tbptt: int | None,
        stateful: bool | None,
        state: Any,
        batch_size: int | None,
        intake: Intake | None = None,
    ) -> Carry:
        """Check what passes from window to window and from batch to batch."""
        wanted = stateful is not None and _checks.flag(stateful, "stateful")
        given = {"tbptt": tbptt is not None, "stateful": wanted, "state": state is not None}
        for name in [name for name in given if given[name]]:
            self._check_passes_state(name)
        return Carry()

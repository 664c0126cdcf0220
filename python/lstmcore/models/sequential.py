"""A chain of layers, trained and used with Keras' names."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, overload

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import did_you_mean, suggests
from lstmcore._typing import Array, ArrayLike, DType, Inputs, Shape, State, Verbose
from lstmcore.layers import CRF, Input, Layer
from lstmcore.layers.states import ModelState
from lstmcore.models.checkpoint import describe
from lstmcore.models.inputs import read_examples
from lstmcore.models.layer_stack import LayerStack
from lstmcore.models.streamed import Streamed
from lstmcore.training import loop
from lstmcore.training.batches import (
    BATCH_SIZE,
    InMemory,
    Iterated,
    inputs_of,
    is_batches,
    is_streamed,
    joined,
    refuse_beside,
)
from lstmcore.training.carry import Carry, Walk
from lstmcore.training.data import Examples, explain_lists, whole_batches
from lstmcore.training.masks import spread
from lstmcore.training.prepare import add_reset, add_targets
from lstmcore.training.progress import with_bar
from lstmcore.training.samples import Samples

__all__ = ["Sequential"]


class Sequential(LayerStack):
    """A chain of layers.

    Parameters
    ----------
    layers : sequence of Layer, optional
        If `Input` comes first, the model is built at once, else by the first data it sees.
        If `TextVectorization` comes first, the model takes strings.
    seed : int, default 0
        Seeds all randomness: initial values, dropout, the order of the samples.
    dtype : {"float32", "float64"}
        Of all weights. Inputs and targets other than ids, classes and text are converted to it.

    Attributes
    ----------
    layers : list of Layer
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
        dtype: DType = "float32",
    ) -> None:
        self._class_names: list[str] | None = None
        super().__init__(layers, seed, dtype)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, in the order of the outputs; saved with the model.

        Two for a single output: the class near 0 and the class near 1. None if they were not set.
        """
        return None if self._class_names is None else list(self._class_names)

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        if names is not None:
            names = _checks.class_names(names)
            if self.built:
                self._check_class_names(names)
        self._class_names = names

    def _build(self, input_shape: Sequence[int | None], initialize: bool) -> None:
        with self._unchanged_on_error():
            super()._build(input_shape, initialize)
            if self._class_names is not None:
                self._check_class_names(self._class_names)

    def _check_class_names(self, names: Sequence[str]) -> None:
        """Raise ValueError unless the number of names is that of the classes."""
        units = self.output_shape[-1]
        count = 2 if units == 1 else units
        if len(names) != count:
            raise ValueError(
                f"class_names: expected {count} names for a model with {units} outputs, "
                f"got {len(names)}"
            )

    def _structure_changed(self) -> None:
        """Drop names of classes whose number no longer matches the outputs."""
        super()._structure_changed()
        if self._class_names is not None:
            try:
                self._check_class_names(self._class_names)
            except ValueError:
                self._class_names = None

    def _layer_shapes(self) -> list[Shape | None]:
        shapes: list[Shape | None] = [*self._shapes] if self.built else [None] * len(self._network)
        if self.vectorizer:
            shapes.insert(0, (None, None))
        return shapes

    def __repr__(self) -> str:
        count = len(self.layers)
        parts = [f"{count} layer{'s' * (count != 1)}"]
        if self.built:
            parts.append(f"{self.count_params():,} parameters")
            given = "texts" if self.vectorizer else _checks.show_shape(self.input_shape)
            parts.append(f"{given} -> {_checks.show_shape(self.output_shape)}")
        else:
            parts.append("not built yet")
        if self.dtype != np.float32:
            parts.append(str(self.dtype))
        if self.quantized:
            parts.append("quantized")
        return f"{type(self).__name__}({', '.join(parts)})"

    # ---- outputs ------------------------------------------------------------------------------

    def __call__(self, x: Inputs, *, training: bool = False, seed: int = 0) -> Array:
        """Compute the outputs of all samples at once.

        Parameters
        ----------
        x : array_like
            See `Sequential`.
        training : bool, default False
            Whether to compute as in training: with dropout, noise and statistics of the batch.
        seed : int, default 0
            Of what is random.

        Returns
        -------
        ndarray
            For ragged input padded with whatever the last layer returns past a row's length.
        """
        examples = self._inputs(x)
        batch = examples.batch(slice(None))
        outputs = self.forward(batch.inputs, batch.lengths, training, seed, False)[0]
        if training:
            self.parameters.settle()
        return outputs

    def inputs_of(self, x: Inputs, layer: Layer | str) -> tuple[Array, Array | None]:
        """Compute the inputs of a layer, to inspect what the layer computes from them.

        Parameters
        ----------
        x : array_like
            See `Sequential`.
        layer : Layer or str
            One of the layers that compute, or its name.

        Returns
        -------
        inputs : ndarray
        lengths : ndarray of int64, shape (N,), or None
            Valid steps of each row, None if all are.

        Raises
        ------
        ValueError
            If the model has no such layer.
        """
        network = self._network
        places = [at for at, own in enumerate(network) if own is layer or own.name == layer]
        if not places:
            known = [str(own.name) for own in network]
            raise ValueError(
                f"layer: expected one of {', '.join(map(repr, known))}, "
                f"got {_checks.describe(layer)}{did_you_mean(layer, known)}"
            )
        batch = self._inputs(x).batch(slice(None))
        inputs, lengths = batch.inputs, batch.lengths
        for own in network[: places[0]]:
            inputs, lengths, _ = own.forward(inputs, lengths, False, 0)
        return inputs, lengths

    @overload
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        state: State | None = None,
        reset: ArrayLike | None = None,
        return_state: Literal[False] = False,
        stateful: bool | None = None,
        mask: ArrayLike | None = None,
        check_finite: bool = True,
    ) -> Array: ...

    @overload
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        state: State | None = None,
        reset: ArrayLike | None = None,
        return_state: Literal[True],
        stateful: bool | None = None,
        mask: ArrayLike | None = None,
        check_finite: bool = True,
    ) -> tuple[Array, ModelState]: ...

    @suggests
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        state: State | None = None,
        reset: ArrayLike | None = None,
        return_state: bool = False,
        stateful: bool | None = None,
        mask: ArrayLike | None = None,
        check_finite: bool = True,
    ) -> Any:
        """Compute the outputs, batch by batch.

        Parameters
        ----------
        x : array_like, list of array_like, or iterable of batches
            See `Sequential`. Batches are those of `Model.fit`, or of only x; `batch_size`, `reset`
            and `mask` cannot be combined with them, and states only if `stateful`.
        batch_size : int, optional
            Changes the speed, not the result. None: 32.
        verbose : {0, 1, 2, "auto"} or bool
            0: nothing; "auto": a bar, in a terminal or a notebook; 2: a line at the end; 1: both.
        steps : int, optional
            How many batches; None: all. Required for an iterator that never ends.
        state : mapping of str to LSTMState, optional
            Where the recurrent layers begin, from `initial_state` or an earlier call; None: zeros.
            Of all N rows, or of one batch if `stateful`.
        reset : array_like of bool, shape (N, T), optional
            True where a new sequence begins; a list of (T_i,) for ragged input.
        return_state : bool, default False
            Whether to return the state after each row's last step as well.
        stateful : bool, optional
            Whether each batch continues the rows of the previous one; then all batches have the
            same size. None: as the recurrent layers' `stateful`.
        mask : array_like of bool, shape (N, T), optional
            As in `fit`.
        check_finite : bool, default True
            Whether NaN and infinities in `x` and `state` are refused; see `fit`.

        Returns
        -------
        ndarray, shape (N, U) or (N, T, U), or list of ndarray, each of shape (T_i, U)
            In the order of `x`; a list if the input is ragged, or batches differ in their number of
            steps, and the outputs have a time axis.
            With a mask and a time axis an array, 0 at masked steps.
            With `return_state` a pair of that and the state.
        """
        return_state = _checks.flag(return_state, "return_state")
        intake = Intake(check_finite)
        if is_batches(x, self._batch_rank):
            refuse_beside(batch_size=batch_size, reset=reset, mask=mask)
            return self._predict_batches(x, verbose, steps, state, return_state, stateful, intake)
        if batch_size is None:
            batch_size = BATCH_SIZE
        batch_size = _checks.integer(batch_size, "batch_size", 1)
        with nullcontext() if self.built else self._unchanged_on_error():
            examples = self._with_reset(self._inputs(x, mask, intake), reset)
            carried = self._is_stateful(stateful)
            if carried:
                batch_size = whole_batches(len(examples), batch_size, "x")
            if steps is not None:
                steps = InMemory(
                    examples, batch_size, False, _checks.integer(steps, "steps", 1)
                ).steps
                examples = examples.part(slice(0, steps * batch_size))
            if return_state:
                self._check_passes_state("return_state")
            if state is not None:
                rows = batch_size if carried else len(examples)
                state = self._check_state(state, rows, intake=intake)
        if len(examples) == 0:
            widths = [examples.output_steps(size) for size in examples.inputs.shape[1:2]]
            middle = widths if len(self.output_shape) > 2 else ()
            y = np.empty((0, *middle, *self.output_shape[1 + len(middle) :]), self.dtype)
            if isinstance(self._network[-1], CRF):  # whose outputs are tags
                y = np.empty(y.shape[:2], np.int64)
            after = state or (self.initial_state(0) if return_state else {})
        else:
            y, after = loop.predict(
                self, examples, batch_size, verbose, carried, state or {}, return_state
            )
            if examples.there is not None and isinstance(y, list):
                y = spread(y, examples.there)
        return (y, after) if return_state else y

    def _predict_batches(
        self,
        x: Any,
        verbose: int | str,
        steps: int | None,
        state: Any,
        return_state: bool,
        stateful: bool | None,
        intake: Intake,
    ) -> Any:
        """Compute the outputs of all batches that `x` yields."""

        def prepare(item: Any) -> Examples:
            return self._inputs(inputs_of(item, self._batch_rank), None, intake)

        source = Iterated(x, prepare, "x", steps, "steps")
        with nullcontext() if self.built else self._unchanged_on_error():
            source.peek()
            carried = self._is_stateful(stateful)
            if not carried:
                refuse_beside(state=state, return_state=return_state or None)
            after: ModelState = {}
            if state is not None:
                after = self._check_state(state, intake=intake)
        outputs, walk = [], Walk(Carry(stateful=carried, first=after))
        for examples, _ in with_bar(source.batches(), source.steps, "Predict", verbose):
            walk.check_rows(len(examples))
            y, end = loop.predict(self, examples, max(len(examples), 1), 0, carried, walk.state)
            outputs.append(y)
            if carried:
                walk.state = end
        return (joined(outputs), walk.state) if return_state else joined(outputs)

    # ---- samples ------------------------------------------------------------------------------

    def _inputs(self, x: Any, mask: Any = None, intake: Intake | None = None) -> Examples:
        """Check inputs; see `read_examples`."""
        return read_examples(self, x, mask, intake)

    @property
    def _batch_rank(self) -> int:
        if self.vectorizer is not None:
            return 1
        if self.built:
            return len(self.input_shape)
        ids = bool(self._network) and self._network[0].input_kind == "ids"
        return 2 if ids else 3

    def _output_rows(self, x: Any, y: Any, batch_size: int, mask: Any) -> Array:
        """Compute the outputs of all valid steps as rows."""
        if y is not None:
            raise ValueError("y: expected None for a Sequential, whose outputs follow from x")
        examples = self._inputs(x, mask)
        carried = self._is_stateful(None)
        if carried:
            batch_size = whole_batches(len(examples), batch_size, "x")
        return loop.output_rows(self, examples, batch_size, carried)

    def _document(self) -> dict[str, Any]:
        """Return what a model file says about the layers."""
        document: dict[str, Any] = {
            "input_shape": list(self.input_shape),
            "layers": [describe(layer) for layer in self.layers],
        }
        if self.class_names is not None:
            document["class_names"] = self.class_names
        return document

    def _examples(self, samples: Samples, intake: Intake, windows: bool = False) -> Examples:
        """Check samples and targets; with `windows` they may be `Streamed`."""
        x, y = samples.x, samples.y
        loss = self.compiled.loss
        with nullcontext() if self.built else self._unchanged_on_error():
            if windows:
                self._check_passes_state("tbptt")
                if loss.sees_sequences:
                    raise ValueError(
                        f"tbptt: expected None for {type(loss).__name__}, which applies to whole "
                        "sequences"
                    )
            if windows and (is_streamed(x) or is_streamed(y)):
                if samples.mask is not None:
                    raise ValueError(
                        "mask: expected None for x or y that is read window by window, since a "
                        "mask removes steps from whole arrays; expected arrays in memory"
                    )
                return Streamed.make(self, loss, samples, intake)
            inputs = self._with_reset(self._inputs(x, samples.mask, intake), samples.reset)
            shape = self.output_shape
            with explain_lists(x, y):
                return add_targets(
                    inputs,
                    loss,
                    shape,
                    self.dtype,
                    y,
                    samples.sample_weight,
                    samples.class_weight,
                    intake,
                    self.compiled.metrics,
                )

    def _with_reset(self, inputs: Examples, reset: Any) -> Examples:
        if reset is not None:
            self._check_reset("reset")
        return add_reset(inputs, reset)

    def _is_stateful(self, stateful: bool | None) -> bool:
        """Return whether each batch continues the rows of the previous one."""
        layers = self.recurrent_layers
        if stateful is None:
            kinds = {layer.stateful for layer in layers.values()}
            if len(kinds) > 1:
                names = [name for name, layer in layers.items() if not layer.stateful]
                raise ValueError(
                    "stateful: expected all recurrent layers to be stateful or none, got some but "
                    f"not {', '.join(names)}"
                )
            stateful = True in kinds
        if _checks.flag(stateful, "stateful"):
            self._check_passes_state("stateful")
        return stateful

    def _carry(
        self,
        tbptt: int | None,
        stateful: bool | None,
        state: Any,
        batch_size: int | None,
        intake: Intake | None = None,
    ) -> Carry:
        """Check what passes from window to window and from batch to batch."""
        if tbptt is not None:
            for layer, shape in zip(self._network, self._shapes, strict=True):
                if len(shape) < 3:
                    raise ValueError(
                        f"tbptt: layer {layer.name!r} has one output for a whole sequence, which "
                        "is only known at its end; expected a model with targets at every step, "
                        "with return_sequences=True and without pooling"
                    )
        carried = self._is_stateful(stateful)
        if state is None:
            return Carry(tbptt, carried)
        if not carried:
            raise ValueError("state: expected None for batches that do not continue each other")
        return Carry(tbptt, carried, self._check_state(state, batch_size, intake=intake))

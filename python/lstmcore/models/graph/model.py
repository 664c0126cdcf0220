"""A graph of layers, trained and used with Keras' names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._suggest import suggests
from lstmcore._typing import Array, DType, Inputs, Named, OptimizerName, Shape, Verbose
from lstmcore.functional import LSTMState
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.states import ModelState
from lstmcore.layers.symbols import Symbols
from lstmcore.models.graph.document import describe_graph
from lstmcore.models.graph.examples import GraphExamples, examples_of, with_targets
from lstmcore.models.graph.inputs import read_all, steps_of
from lstmcore.models.graph.network import Feed, Network, Tape
from lstmcore.models.graph.structure import Structure, named_inputs, named_outputs, trace
from lstmcore.models.stored import Stored
from lstmcore.training import loop
from lstmcore.training.batches import (
    BATCH_SIZE,
    InMemory,
    Iterated,
    is_batches,
    joined,
    refuse_beside,
)
from lstmcore.training.compiled import Metrics
from lstmcore.training.heads import check_head
from lstmcore.training.joint import Joint, by_output
from lstmcore.training.losses import Loss, LossLike
from lstmcore.training.optimizers import Optimizer
from lstmcore.training.progress import with_bar
from lstmcore.training.samples import Samples

__all__ = ["Model"]


class Model(Stored):
    """A graph of layers: several inputs and outputs, branches that meet again, shared layers.

    Layers are called on what `Input` returns, and on what those calls return::

        weather, place = lc.Input((None, 5), name="weather"), lc.Input((8,), name="place")
        start = layers.Dense(32, "tanh")(place)
        y = layers.LSTM(32)(weather, initial_state=[start, start])
        model = lc.Model([weather, place], layers.Dense(1)(y))

    A layer that is called several times has one set of weights. `Add`, `Average`, `Concatenate`,
    `Multiply` and `Subtract` join branches.

    Parameters
    ----------
    inputs : Input, or a list or dict of them
        Names of a dict become the inputs' names.
    outputs : symbol, or a list or dict of them
        What calls of layers return. The name of an output, unless a dict gives one, is that of
        its layer.
    seed : int, default 0
        Seeds all randomness: initial values, dropout, the order of the samples.
    dtype : {"float32", "float64"}
        Of all weights. Inputs and targets other than ids and classes are converted to it.

    Attributes
    ----------
    layers : list of Layer
        Each once, in the order of the graph.
    input_names, output_names : list of str
    parameters, epoch, history, stop_training
        As in `Sequential`.

    Raises
    ------
    TypeError, ValueError
        If inputs and outputs are not those of a graph, an input is missing or leads nowhere, or a
        layer is in another model, takes token ids at an inner place, or is `stateful`.

    Notes
    -----
    x is a dict by the names of inputs, a list in their order, or the data of the only input; each
    as in `Sequential`: an array, or a list of rows of different lengths. Lengths and masks follow
    each branch to where its steps end; branches that meet must have the same steps.

    With several outputs, y, `sample_weight`, losses and metrics are dicts by the outputs' names
    or lists in their order, and so is what `predict` returns. The model works on whole sequences:
    `tbptt`, `stateful` and states are for a `Sequential`.
    """

    def __init__(
        self,
        inputs: Symbols,
        outputs: Symbols,
        *,
        seed: int = 0,
        dtype: DType = "float32",
    ) -> None:
        super().__init__(seed, dtype)
        structure = trace(named_inputs(inputs), named_outputs(outputs))
        self._set_structure(structure, isinstance(outputs, Mapping))
        self._parameters = self._make_parameters(self._plan())

    def _set_structure(self, structure: Structure, by_name: bool) -> None:
        for layer in structure.layers:
            layer._held_by = type(self).__name__
        self._structure, self._graph = structure, Network(structure)
        self._layers = structure.layers
        self._by_name = by_name  # whether several predictions are a dict

    @classmethod
    def _unfilled(cls, inputs: Symbols, outputs: Symbols, dtype: DType) -> "Model":
        """Make a model without weights of a graph; see `_to_fill`."""
        structure = trace(named_inputs(inputs), named_outputs(outputs))
        return cls._to_fill(structure, isinstance(outputs, Mapping), 0, dtype)

    @classmethod
    def _to_fill(cls, structure: Structure, by_name: bool, seed: int, dtype: DType) -> "Model":
        """Make a model without weights, for a reader of files; `_build_to_fill` allocates them."""
        model = cls.__new__(cls)
        Stored.__init__(model, seed, dtype)
        model._set_structure(structure, by_name)
        vars(model)["_made"] = True
        return model

    def _build_to_fill(self) -> None:
        """Allocate the weights without initial values, for a caller that fills in all of them."""
        self._parameters = self._make_parameters(self._plan(), initialize=False)

    def _plan(self) -> dict[str, WeightSpec]:
        """List the weights by full name."""
        return {
            f"{layer.name}.{spec.name}": spec
            for layer in self.layers
            for spec in layer.weight_specs()
        }

    # ---- structure ---------------------------------------------------------------------------

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in their order."""
        return [entry.name for entry in self._structure.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in their order."""
        return list(self._structure.outputs)

    @property
    def input_shape(self) -> Any:
        """Shape of a batch of the only input, or a list with that of each input."""
        return _one_or_list([entry.shape for entry in self._structure.inputs])

    @property
    def output_shape(self) -> Any:
        """Shape of a batch of the only output, or a list with that of each output."""
        return _one_or_list(list(self._output_shapes.values()))

    @property
    def _output_shapes(self) -> dict[str, Shape]:
        structure = self._structure
        return {name: structure.shapes[value] for name, value in structure.outputs.items()}

    @property
    def _activations(self) -> dict[str, str]:
        """The last activation of each output, which its loss may compute itself."""
        structure = self._structure
        return {name: structure.ends_in(value) for name, value in structure.outputs.items()}

    @property
    def _last_activation(self) -> str:
        return next(iter(self._activations.values()))

    def _layer_shapes(self) -> list[Shape | None]:
        first = {use.layer: use.outputs[0] for use in reversed(self._structure.uses)}
        return [self._structure.shapes[first[place]] for place in range(len(self.layers))]

    def _layer_sources(self) -> list[str]:
        """List what each layer takes, for the summary."""
        structure = self._structure
        names = [f"{name} (Input)" for name in self.input_names]
        for use in structure.uses:
            names += [str(self.layers[use.layer].name)] * len(use.outputs)
        taken: list[list[str]] = [[] for _ in self.layers]
        for use in structure.uses:
            taken[use.layer].append(", ".join(names[value] for value in use.inputs))
        return ["; ".join(entries) for entries in taken]

    def __repr__(self) -> str:
        structure = self._structure
        shown = [
            ", ".join(f"{name} {_checks.show_shape(shape)}" for name, shape in group)
            for group in (
                [(entry.name, entry.shape) for entry in structure.inputs],
                list(self._output_shapes.items()),
            )
        ]
        count = len(self.layers)
        parts = [
            f"{count} layer{'s' * (count != 1)}",
            f"{self.count_params():,} parameters",
            " -> ".join(shown),
        ]
        if self.dtype != np.float32:
            parts.append(str(self.dtype))
        if self.quantized:
            parts.append("quantized")
        return f"{type(self).__name__}({', '.join(parts)})"

    # ---- computation -------------------------------------------------------------------------

    def forward(
        self, inputs: Feed, lengths: Array | None, training: bool, seed: int, logits: Any
    ) -> Any:
        """Compute the outputs of one checked batch.

        Parameters
        ----------
        inputs : Feed
        lengths : None
            Those of the inputs are in `inputs`.
        training : bool
            Whether dropout is applied and a tape is filled.
        seed : int
            Seeds what is random.
        logits : bool or list of bool
            Whether each output skips its activation.

        Returns
        -------
        outputs, lengths
            Of the only output, or lists of those of each output.
        tape : Tape
            For `backward`.
        """
        if training:
            self._follow_trainable()
        count = len(self._structure.outputs)
        skipped = logits if isinstance(logits, list) else [logits] * count
        outputs, after, tape = self._graph.forward(inputs, training, seed, skipped)
        return _one_or_list(outputs), _one_or_list(after), tape

    def _forward_from(
        self,
        inputs: Any,
        lengths: Array | None,
        training: bool,
        seed: int,
        logits: Any,
        state: Mapping[str, LSTMState],
        reset: Array | None = None,
    ) -> tuple[Any, Any, Any, ModelState]:
        return (*self.forward(inputs, lengths, training, seed, logits), {})

    def backward(self, contexts: Tape, dy: Any) -> None:
        """Write the gradients of all trained weights to ``parameters.gradients``."""
        self._follow_trainable()
        self._graph.backward(contexts, dy if isinstance(dy, list) else [dy])

    def __call__(self, x: Any, *, training: bool = False, seed: int = 0) -> Any:
        """Compute the outputs of all samples at once.

        Parameters
        ----------
        x : array_like, or list or dict of array_like
            See `Model`.
        training : bool, default False
            Whether to compute as in training: with dropout, noise and statistics of the batch.
        seed : int, default 0
            Of what is random.

        Returns
        -------
        ndarray, or list or dict of ndarray
            For ragged input padded with whatever the last layers return past a row's length.
        """
        batch = self._inputs(x).batch(slice(None))
        outputs = self.forward(batch.inputs, None, training, seed, False)[0]
        if training:
            self.parameters.settle()
        return self._named(outputs)

    def _named(self, outputs: Any) -> Any:
        """Return several outputs as a dict, if they were given as one."""
        several = isinstance(outputs, list) and len(self._structure.outputs) > 1
        if several and self._by_name:
            return dict(zip(self.output_names, outputs, strict=True))
        return outputs

    # ---- training ----------------------------------------------------------------------------

    @suggests
    def compile(
        self,
        optimizer: Optimizer | OptimizerName | None = "rmsprop",
        loss: LossLike | Sequence[LossLike] | Mapping[str, LossLike] | None = None,
        metrics: Metrics | Mapping[str, Metrics] = None,
        weighted_metrics: Metrics | Mapping[str, Metrics] = None,
        *,
        loss_weights: Sequence[float] | Mapping[str, float] | None = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : Optimizer or {"sgd", "rmsprop", "adam", "adamw"}
            As in `Sequential`.
        loss : Loss or str, or a list or dict of them
            With several outputs one for each, by name or in their order, or one for all.
        metrics, weighted_metrics : as in `Sequential`, or a list or dict of that, optional
            With several outputs a dict by name, a list with one entry for each output (which may
            be None or a list), or a single metric for all.
        loss_weights : list or dict of float, optional
            Factors of the losses of several outputs in their sum, which is trained; 1 for an
            output that has none. Not for a single output.

        Raises
        ------
        TypeError, ValueError
            As in `Sequential`; with several outputs the error names the output.

        Notes
        -----
        Logs of several outputs have the weighted sum of losses as "loss" and, for each output,
        "NAME_loss" and "NAME_METRIC". Losses and metrics are means over the samples or valid steps
        of their output.
        """
        names = self.output_names
        if len(names) > 1:
            self._compiled = self._joint(optimizer, loss, metrics, weighted_metrics, loss_weights)
            return
        if loss_weights is not None:
            raise ValueError(
                "loss_weights: expected None for a model with a single output, got "
                f"{loss_weights!r}"
            )
        only: list[Any] = [
            by_output(given, names, argument, (object,))[names[0]]
            for given, argument in (
                (loss, "loss"),
                (metrics, "metrics"),
                (weighted_metrics, "weighted_metrics"),
            )
        ]
        super().compile(optimizer, *only)

    def _joint(self, optimizer: Any, loss: Any, plain: Any, weighted: Any, factors: Any) -> Joint:
        """Return what `compile` makes for several outputs."""
        if loss is None:
            raise ValueError("loss: expected a loss for each output, got None")
        chosen = self._checked_optimizer(optimizer)
        joint = Joint.make(chosen, loss, plain, weighted, factors, self._activations)
        self._check_losses(joint)
        joint.check_shape(self.output_shape)
        return joint

    @property
    def compiled(self) -> Any:
        """What `compile` made."""
        return super().compiled

    def _check_loss(self, loss: Loss) -> None:
        check_head(loss, self._structure.chain_to(*self._structure.outputs.values()))

    def _check_head(self) -> None:
        """Do nothing: layers cannot change after `compile`, which has checked the losses."""

    def _check_losses(self, joint: Joint) -> None:
        """Raise ValueError if a loss does not suit the layers that lead to its output."""
        outputs = self._structure.outputs
        for (name, value), head in zip(outputs.items(), joint.heads, strict=True):
            try:
                check_head(head.loss, self._structure.chain_to(value))
            except ValueError as error:
                raise ValueError(f"output {name!r}: {error}") from error

    def _compiled_from(self, config: Any, custom_objects: Mapping[str, Any]) -> Any:
        if len(self.output_names) == 1:
            return super()._compiled_from(config, custom_objects)
        return Joint.from_config(config, self._activations, custom_objects)

    # ---- samples -----------------------------------------------------------------------------

    @property
    def _batch_rank(self) -> int:
        """The number of axes of x for one batch of a single input."""
        return len(self._structure.inputs[0].shape)

    def _inputs(self, x: Any, mask: Any = None, intake: Intake | None = None) -> GraphExamples:
        """Check inputs, and find the steps of the outputs."""
        intake = Intake(switch=False) if intake is None else intake
        given = read_all(self._structure, x, mask, self.dtype, intake)
        steps = steps_of(self._structure, given)
        ends = [steps[value] for value in self._structure.outputs.values()]
        return examples_of(given, ends)

    def _examples(self, samples: Samples, intake: Intake, windows: bool = False) -> GraphExamples:
        for name, asked in (("tbptt", windows), ("reset", samples.reset is not None)):
            if asked:
                self._check_passes_state(name)
        examples = self._inputs(samples.x, samples.mask, intake)
        return with_targets(
            examples, self.compiled, self._output_shapes, self.dtype, samples, intake
        )

    def _output_rows(self, x: Any, y: Any, batch_size: int, mask: Any) -> Array:
        """Compute the outputs of all valid steps as rows."""
        if y is not None:
            raise ValueError("y: expected None for a Model, whose outputs follow from x")
        return loop.output_rows(self, self._inputs(x, mask), batch_size, False)

    @suggests
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        mask: Named | None = None,
        check_finite: bool = True,
    ) -> Any:
        """Compute the outputs, batch by batch.

        Parameters
        ----------
        x : array_like, list or dict of array_like, or iterable of batches
            See `Model`. Batches are those of `fit`, or of only x; `batch_size` and `mask` cannot
            be combined with them.
        batch_size : int, optional
            Changes the speed, not the result. None: 32.
        verbose : {0, 1, 2, "auto"} or bool
            As in `Sequential.predict`.
        steps : int, optional
            How many batches; None: all. Required for an iterator that never ends.
        mask : array_like of bool, shape (N, T), or dict of them, optional
            For each input with steps, True at those that are valid; a single array if only one
            input has steps. See `fit`.
        check_finite : bool, default True
            Whether NaN and infinities in `x` are refused; see `fit`.

        Returns
        -------
        ndarray or list of ndarray, or a list or dict of these
            For one output as `Sequential.predict`; for several a dict, if the model was made with
            one, else a list.
        """
        intake = Intake(check_finite)
        if is_batches(x, self._batch_rank):
            refuse_beside(batch_size=batch_size, mask=mask)
            return self._predict_batches(x, verbose, steps, intake)
        size = _checks.integer(BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1)
        examples = self._inputs(x, mask, intake)
        if steps is not None:
            limit = _checks.integer(steps, "steps", 1)
            count = InMemory(examples, size, False, limit).steps
            examples = examples.part(slice(0, count * size))
        return self._predicted(examples, size, verbose)

    def _predicted(self, examples: GraphExamples, size: int, verbose: Verbose) -> Any:
        """Compute the outputs of checked samples."""
        if len(examples) == 0:
            batch = examples.batch(slice(None))
            outputs = self.forward(batch.inputs, None, False, 0, False)[0]
            return self._named(outputs)
        outputs, _ = loop.predict(self, examples, size, verbose, False, {}, False)
        return self._named(loop.spread_over(outputs, examples.heads))

    def _predict_batches(self, x: Any, verbose: Verbose, steps: int | None, intake: Intake) -> Any:
        """Compute the outputs of all batches that `x` yields."""

        def prepare(item: Any) -> GraphExamples:
            whole = isinstance(item, tuple) and len(item) in (1, 2, 3)
            return self._inputs(item[0] if whole else item, None, intake)

        source = Iterated(x, prepare, "x", steps, "steps")
        source.peek()
        found: list[list[Any]] = []
        for examples, _ in with_bar(source.batches(), source.steps, "Predict", verbose):
            assert isinstance(examples, GraphExamples)
            outputs, _ = loop.predict(self, examples, max(len(examples), 1), 0, False, {}, False)
            found.append(loop.listed(outputs))
        return self._named(
            _one_or_list([joined(list(parts)) for parts in zip(*found, strict=True)])
        )

    def _document(self) -> dict[str, Any]:
        """Return what a model file says about the graph."""
        return {"graph": describe_graph(self._structure, self._by_name)}


def _one_or_list(values: list[Any]) -> Any:
    """Return the only value, or all of several."""
    return values[0] if len(values) == 1 else values

"""Attention: a weighted mean over time whose weights are learnt."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from lstmcore import _checks, _core, regularizers
from lstmcore._intake import Intake
from lstmcore._typing import Array, ArrayLike, AttentionKind, InitializerName, Shape, choices
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.nodes import NodeOutputs
from lstmcore.layers.parameters import WeightSpec

__all__ = ["Attention", "Look", "Memory"]


class Memory(NamedTuple):
    """A batch of sequences, prepared for any number of queries."""

    values: Array
    """(N, T, C)."""
    lengths: Array | None
    keys: Array
    """(N, T, U)."""


class Look(NamedTuple):
    """What the backward of one look at a `Memory` needs."""

    memory: Memory
    queries: Array
    """(N, S, U), as they meet the keys."""
    query_lengths: Array | None
    weights: Array
    """(N, S, T)."""


class Attention(Layer):
    """Attention pooling: (N, T, C) to (N, C), the mean of a row's steps by learnt weights.

    Every valid step gets a score, a softmax over the valid steps of the row makes weights of the
    scores, and the output is ``sum_t weight_t x_t``. Steps past a row's length have weight 0; a row
    without any step yields 0. The score of a step is ::

        additive:        v . tanh(W x_t + b [+ U q])      (Bahdanau, Cho & Bengio 2015)
        multiplicative:  q . W x_t                        (Luong, Pham & Manning 2015)

    where q is a query: an argument of the call if `query_size` is given, else nothing (additive) or
    a learnt vector (multiplicative).

    Parameters
    ----------
    kind : {"additive", "multiplicative"}
    units : int, optional
        Width in which steps and query meet. None: as wide as the input; with multiplicative scores
        of a given query always as wide as that.
    query_size : int, optional
        Q, the width of the queries in a call, ``layer(x, query)``. None: no query is
        given. In a `Sequential`, whose layers have one input, it must be None.
    scale : bool, default False
        Whether multiplicative scores are divided by the root of `units` (Vaswani et al. 2017), so
        that wide ones do not begin with a softmax that sees one step only.
    kernel_initializer : str, default "glorot_uniform"
        Name of the initial values of all weights but the bias, which begins at 0.
    kernel_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on the kernel.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights, with U for `units`: ``kernel`` (C, U); additive also ``bias`` (U,), ``query_kernel``
    (Q, U) if queries are given, and ``score`` (U,), the v above; multiplicative also ``query`` (U,)
    if none are given.
    """

    def __init__(
        self,
        kind: AttentionKind = "additive",
        units: int | None = None,
        *,
        query_size: int | None = None,
        scale: bool = False,
        kernel_initializer: InitializerName = "glorot_uniform",
        kernel_regularizer: regularizers.RegularizerLike = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.kind = _checks.choice(kind, "kind", choices(AttentionKind))
        self.units = None if units is None else _checks.integer(units, "units", 1)
        self.query_size = (
            None if query_size is None else _checks.integer(query_size, "query_size", 1)
        )
        self.scale = _checks.flag(scale, "scale")
        additive = self.kind == "additive"
        if self.scale and additive:
            raise ValueError("scale: expected False with additive scores, got True")
        if not additive and None not in (self.units, self.query_size) and units != query_size:
            raise ValueError(
                f"units: expected query_size, {query_size}, or None with multiplicative scores of "
                f"a given query, got {units}"
            )
        self.kernel_initializer = kernel_initializer
        self._initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.seed = None if seed is None else _checks.integer(seed, "seed")
        self._width = self._units = 0

    @property
    def _additive(self) -> bool:
        return self.kind == "additive"

    @property
    def _asked(self) -> bool:
        """Whether queries are given."""
        return self.query_size is not None

    # ---- structure ---------------------------------------------------------------------------

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, T, C)."""
        self._width = self._accept(input_shape, (3,), "(N, T, C)")
        self._units = self.units or (0 if self._additive else self.query_size or 0) or self._width
        return (input_shape[0], self._width)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``kernel`` (C, U) and what else this kind has."""
        penalty = regularizers.strengths(self.kernel_regularizer)
        make, units = self._initializer, self._units
        specs = [WeightSpec("kernel", (self._width, units), make, *penalty)]
        if self._additive:
            specs.append(WeightSpec("bias", (units,), initializers.zeros))
            if self.query_size is not None:
                specs.append(WeightSpec("query_kernel", (self.query_size, units), make))
            specs.append(WeightSpec("score", (units,), make))
        elif not self._asked:
            specs.append(WeightSpec("query", (units,), make))
        return specs

    # ---- pooling -----------------------------------------------------------------------------

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, Look]:
        """Take the weighted mean with the layer's own query; see `Layer.forward`."""
        if self._asked:
            raise ValueError("query: expected one, since the layer has query_size; got none")
        memory = self.remember(inputs, lengths)
        # Without a query, v . tanh(W x + b) is a product of v and the keys, which then include the
        # tanh.
        own = self._weights["score" if self._additive else "query"]
        queries = np.repeat(own[None, None], len(inputs), axis=0)
        outputs, look = self._look(memory, queries, None, None)
        return outputs[:, 0], None, look

    def backward(self, context: Look, dy: Array, need_x: bool = True) -> Array | None:
        """Write the gradients of the weights and return dx; see `Layer.backward`."""
        self._follow_trainable()
        dkeys, dqueries, dvalues = self._look_back(context, dy[:, None], None, None)
        own = self.gradient_place("score" if self._additive else "query")
        if own is not None:
            own[...] = dqueries.sum(axis=(0, 1))
        return self.remember_backward(context.memory, dkeys, dvalues, need_x)

    # ---- the parts, for callers with several queries -----------------------------------------

    def remember(self, values: Array, lengths: Array | None) -> Memory:
        """Compute the keys of a batch of sequences, once for all queries.

        Parameters
        ----------
        values : ndarray, shape (N, T, C)
        lengths : ndarray of int64, shape (N,), or None

        Returns
        -------
        Memory
        """
        kernel, bias = self._weights["kernel"], self._weights.get("bias")
        rows = values.reshape(-1, self._width)
        keys = _core.dense_forward(rows, kernel, bias, self._key_activation)
        return Memory(values, lengths, keys.reshape((*values.shape[:2], self._units)))

    def remember_backward(
        self, memory: Memory, dkeys: Array, dvalues: Array, need_x: bool = True
    ) -> Array | None:
        """Write the gradients of kernel and bias, and return that of the sequences.

        Parameters
        ----------
        memory : Memory
        dkeys : ndarray, shape (N, T, U)
            Summed over all looks, as is dvalues.
        dvalues : ndarray, shape (N, T, C)
        need_x : bool, default True

        Returns
        -------
        ndarray, shape (N, T, C), or None
        """
        dx = _core.dense_backward(
            memory.values.reshape(-1, self._width),
            self._weights["kernel"],
            memory.keys.reshape(-1, self._units),
            dkeys.reshape(-1, self._units),
            self._key_activation,
            need_x,
            self.gradient_place("kernel"),
            self.gradient_place("bias"),
        )
        if dx is None:
            return None
        total = dx.reshape(memory.values.shape)
        total += dvalues
        return total

    def look(self, memory: Memory, query: Array, query_lengths: Array | None) -> tuple[Array, Look]:
        """Compute what given queries see.

        Parameters
        ----------
        memory : Memory
        query : ndarray, shape (N, S, Q)
        query_lengths : ndarray of int64, shape (N,), or None
            How many of a row's S queries count; the others see 0.

        Returns
        -------
        context : ndarray, shape (N, S, C)
        look : Look
            For `look_backward`.
        """
        score = self._weights.get("score")
        return self._look(memory, self._project(query), query_lengths, score)

    def look_backward(
        self, look: Look, dcontext: Array, dscore: Array | None
    ) -> tuple[Array, Array, Array, Array]:
        """Compute the gradients of one look.

        Parameters
        ----------
        look : Look
        dcontext : ndarray, shape (N, S, C)
        dscore : ndarray, shape (U,), or None
            Where the gradient of ``score`` goes, if it is wanted.

        Returns
        -------
        dquery : ndarray, shape (N, S, Q)
            With respect to the queries.
        dmet : ndarray, shape (N, S, U)
            With respect to the queries as they meet the keys, for `query_backward`.
        dkeys : ndarray, shape (N, T, U)
        dvalues : ndarray, shape (N, T, C)
        """
        score = self._weights.get("score")
        dkeys, dmet, dvalues = self._look_back(look, dcontext, score, dscore)
        kernel = self._weights.get("query_kernel")
        if kernel is None:
            return dmet, dmet, dkeys, dvalues
        # Only the kernel's gradient, which is left to `query_backward`, would read the queries.
        dquery = _core.dense_backward(
            np.empty((dmet.shape[0] * dmet.shape[1], len(kernel)), dmet.dtype),
            kernel,
            dmet.reshape(-1, self._units),
            dmet.reshape(-1, self._units),
            "linear",
            True,
            None,
            None,
        )
        assert dquery is not None
        return dquery.reshape((*dmet.shape[:2], -1)), dmet, dkeys, dvalues

    def query_backward(self, query: Array, dmet: Array) -> None:
        """Write the gradient of ``query_kernel``, if there is one, from all queries.

        Parameters
        ----------
        query : ndarray, shape (N, S, Q)
        dmet : ndarray, shape (N, S, U)
        """
        target = self.gradient_place("query_kernel")
        if target is not None:
            kernel = self._weights["query_kernel"]
            rows, gradients = query.reshape(-1, len(kernel)), dmet.reshape(-1, self._units)
            _core.dense_backward(rows, kernel, gradients, gradients, "linear", False, target, None)

    @property
    def _score_gradient(self) -> Array | None:
        """Where the gradient of ``score`` belongs; None if no such weight is trained."""
        return self.gradient_place("score")

    @property
    def _key_activation(self) -> str:
        return "tanh" if self._additive and not self._asked else "linear"

    def _project(self, query: Array) -> Array:
        kernel = self._weights.get("query_kernel")
        if kernel is None:
            return query
        met = _core.dense_forward(query.reshape(-1, len(kernel)), kernel, None, "linear")
        return met.reshape((*query.shape[:2], self._units))

    @property
    def _factor(self) -> float:
        return float(1.0 / np.sqrt(self._units)) if self.scale else 1.0

    def _look(
        self, memory: Memory, met: Array, query_lengths: Array | None, v: Array | None
    ) -> tuple[Array, Look]:
        context, weights = _core.attention_forward(
            memory.keys, met, memory.values, v, self._factor, memory.lengths, query_lengths
        )
        return context, Look(memory, met, query_lengths, weights)

    def _look_back(
        self, look: Look, dcontext: Array, v: Array | None, dv: Array | None
    ) -> tuple[Array, Array, Array]:
        memory = look.memory
        if v is not None and dv is None:
            dv = np.empty_like(v)  # which the engine writes whenever there is a v
        return _core.attention_backward(
            memory.keys,
            look.queries,
            memory.values,
            v,
            self._factor,
            memory.lengths,
            look.query_lengths,
            look.weights,
            dcontext,
            dv,
        )

    # ---- in a graph --------------------------------------------------------------------------

    def _arguments_of(self, arguments: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        rest = {name: value for name, value in options.items() if name != "query"}
        if rest.get("return_weights") is False:
            del rest["return_weights"]
        inputs = super()._arguments_of(arguments[:1], rest)
        queries = [*arguments[1:], options.get("query")]
        inputs += [query for query in queries if query is not None]
        if len(inputs) != 1 + self._asked:
            raise ValueError(
                "query: expected one, since the layer has query_size"
                if self._asked
                else "query: expected none, since the layer has no query_size"
            )
        return inputs

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        after = self.build(shapes[0])
        if not self._asked:
            return [after]
        query = shapes[1]
        if len(query) not in (2, 3) or query[-1] != self.query_size:
            raise ValueError(
                f"query: expected shape (N, {self.query_size}) or (N, S, {self.query_size}), got "
                f"{_checks.show_shape(query)}"
            )
        return [(*query[:-1], self._width)]

    def _forward_node(
        self,
        inputs: Sequence[Array],
        lengths: Sequence[Array | None],
        training: bool,
        seed: int,
        logits: bool,
    ) -> NodeOutputs:
        if not self._asked:
            return super()._forward_node(inputs, lengths, training, seed, logits)
        values, query = inputs
        several = query if query.ndim == 3 else query[:, None]
        counts = lengths[1] if query.ndim == 3 else None
        context, look = self.look(self.remember(values, lengths[0]), several, counts)
        outputs = context if query.ndim == 3 else context[:, 0]
        return NodeOutputs([outputs], [counts], (look, several, query.shape))

    def _backward_node(
        self, context: Any, gradients: Sequence[Array | None], needed: Sequence[bool]
    ) -> list[Array | None]:
        if not self._asked:
            return super()._backward_node(context, gradients, needed)
        self._follow_trainable()
        look, several, shape = context
        dy = gradients[0]
        assert dy is not None
        dcontext = dy if dy.ndim == 3 else dy[:, None]
        dquery, dmet, dkeys, dvalues = self.look_backward(look, dcontext, self._score_gradient)
        self.query_backward(several, dmet)
        dx = self.remember_backward(look.memory, dkeys, dvalues, needed[0])
        return [dx, dquery.reshape(shape)]

    def _lengths_node(self, lengths: Sequence[Array | None], rows: Array) -> Array:
        asked = lengths[1] if self._asked else None
        return rows if asked is None else asked

    def _weights_at(self, context: Any) -> Array:
        """Return the weights (N, S, T) of a node, given its context."""
        look: Look = context[0] if self._asked else context
        return look.weights

    # ---- a layer on its own ------------------------------------------------------------------

    @overload
    def __call__(
        self,
        inputs: ArrayLike,
        query: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_weights: Literal[False] = False,
        training: bool = False,
        seed: int = 0,
    ) -> Array: ...

    @overload
    def __call__(
        self,
        inputs: ArrayLike,
        query: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_weights: Literal[True],
        training: bool = False,
        seed: int = 0,
    ) -> tuple[Array, Array]: ...

    def __call__(
        self,
        inputs: ArrayLike,
        query: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        return_weights: bool = False,
        training: bool = False,
        seed: int = 0,
    ) -> Any:
        """Apply the layer to an array; the first call fixes the widths and the element type.

        Parameters
        ----------
        inputs : array_like, shape (N, T, C)
        query : array_like, shape (N, Q) or (N, S, Q), optional
            If and only if the layer has `query_size`.
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row.
        return_weights : bool, default False
            Whether to return the weights too.
        training, seed
            Without effect: nothing is random here.

        Returns
        -------
        context : ndarray, shape (N, C), with S queries a row (N, S, C)
        weights : ndarray, shape (N, T) or (N, S, T)
            Only with `return_weights`. Those of a row sum to 1, or are all 0 if it has no step.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        wanted = _checks.flag(return_weights, "return_weights")
        context, weights = self._call(inputs, query, lengths)
        return (context, weights) if wanted else context

    def attention_weights(
        self, inputs: ArrayLike, lengths: ArrayLike | None = None, query: ArrayLike | None = None
    ) -> Array:
        """Return the weights of all steps, for inspection.

        Parameters
        ----------
        inputs : array_like, shape (N, T, C)
            Inputs of the layer; `Sequential.inputs_of` returns them for a layer of a model.
        lengths : array_like of int, shape (N,), optional
        query : array_like, shape (N, Q) or (N, S, Q), optional
            As in a call.

        Returns
        -------
        ndarray, shape (N, T), with S queries a row (N, S, T)
        """
        return self._call(inputs, query, lengths)[1]

    def _call(self, inputs: Any, query: Any, lengths: Any) -> tuple[Array, Array]:
        if (query is None) == self._asked:
            raise ValueError(
                "query: expected one, since the layer has query_size; got none"
                if self._asked
                else "query: expected none, since the layer has no query_size"
            )
        array, valid = self._prepare_call(inputs, lengths)
        if query is None:
            outputs, _, look = self.forward(array, valid, False, 0)
            return outputs, look.weights[:, 0]
        queries = Intake(switch=False).floats(query, "query", array.dtype)
        expected = (len(array), self.query_size)
        if queries.ndim not in (2, 3) or (queries.shape[0], queries.shape[-1]) != expected:
            raise ValueError(
                f"query: expected shape ({expected[0]}, {expected[1]}) or "
                f"({expected[0]}, S, {expected[1]}), got {queries.shape}"
            )
        several = queries if queries.ndim == 3 else queries[:, None]
        context, look = self.look(self.remember(array, valid), several, None)
        weights = look.weights
        return (context, weights) if queries.ndim == 3 else (context[:, 0], weights[:, 0])

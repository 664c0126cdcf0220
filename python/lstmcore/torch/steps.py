"""Steps of a plain cell in a loop: one call of the engine each, and one sum for all weights' gradients.

A loop over a cell has as many nodes in PyTorch's graph as steps. If each returned gradients of the
weights, writing and adding these would take most of the time. Here the steps share a node that
stands for the weights (`_Weights`): each step leaves its gates' gradients with it, and when a
backward pass reaches it, after all steps, one product sums them. Hooks, ``retain_graph``,
``inputs=`` and several passes at the same time see what PyTorch's own cell shows, since gradients
are collected separately for each pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from lstmcore import _core

from lstmcore.torch.autograd import _any_batched, _apply, _Backward, needs_of, spread
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan
from lstmcore.torch.tensors import array_of
from lstmcore.torch.weights import Remembered, pack

_NO_TAPE = torch.full((1,), -1, dtype=torch.int64, device="cpu")  # then the forward runs again


def step(module: Any, x: Any, hx: Any) -> tuple[Any, Any] | None:
    """Return h and c after a step of an `LSTMCell`.

    None where the general call must decide or compute: for variants of the cell, unusual tensors
    and wrong arguments, and inside compilation, tracing and transforms.
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
        or (module._masks and module.training)
    ):
        return None
    parameters = module._parameters
    weights = [parameters.get(name) for name in module._parameter_names]
    packed = _packed(module, weights)
    if packed is None or type(x) is not torch.Tensor or x.dim() != 2:
        return None
    batch = x.size(0)
    if hx is None:
        h = c = x.new_zeros(batch, packed.hidden)
    elif type(hx) is tuple and len(hx) == 2:
        h, c = hx
    else:
        return None
    if not packed.fits(x, h, c, batch):
        return None
    grads = torch.is_grad_enabled()
    flags = [weight.requires_grad for weight in weights] if grads else []
    keep = grads and (x.requires_grad or h.requires_grad or c.requires_grad or any(flags))
    h_new, c_new = h.new_empty(h.shape), c.new_empty(c.shape)
    tape = x.new_empty(batch * packed.cell.tape_width) if keep else None
    if not packed.run(batch, x, h, c, h_new, c_new, tape):
        packed = _pack(module, weights)  # the weights' bytes have changed
        if packed is None or not packed.run(batch, x, h, c, h_new, c_new, tape):
            return None
    if tape is None:
        return h_new, c_new
    sums = packed.sums_for(flags)
    return _Step.apply((sums, h_new, c_new, tape), x, h, c, sums.token)  # type: ignore[no-any-return]


class Packed:
    """The packed weights of a module, for steps that find the same parameters unchanged."""

    def __init__(self, plan: Plan, weights: Sequence[Any], lstm: _core.Lstm | None) -> None:
        self.plan = plan
        self.hidden = plan.config.hidden_size
        self.inputs = plan.config.input_size
        self.dtype = weights[0].dtype
        self.frozen = lstm is not None
        self.weights = tuple(weights)
        self.marks = [_mark(weight) for weight in weights]
        addresses: list[int] = []
        copies: list[Any] = []
        if lstm is None:
            # Packs copies, since another thread may change the tensors meanwhile.
            addresses = [weight.data_ptr() for weight in weights]
            copies = [
                array_of(weight, name, weights[0]).copy()
                for weight, name in zip(weights, plan.names, strict=True)
            ]
            lstm = pack(plan, [torch.from_numpy(copy) for copy in copies])
        self.lstm = lstm
        self.cell = _core.LstmCell(lstm, addresses, copies)
        self._sums: weakref.ref[Sums] | None = None

    def serves(self, weights: Sequence[Any]) -> bool:
        """Return whether these are the same tensors, as far as PyTorch counts their changes."""
        for weight, seen, mark in zip(weights, self.weights, self.marks, strict=True):
            if weight is not seen or _mark(weight) != mark:
                return False
        return True

    def fits(self, x: Any, h: Any, c: Any, batch: int) -> bool:
        """Return whether x (N, C), h and c (N, H) are plain dense tensors of the weights' dtype."""
        for tensor, width in ((x, self.inputs), (h, self.hidden), (c, self.hidden)):
            if (
                type(tensor) is not torch.Tensor
                or tensor.dtype is not self.dtype
                or tensor.shape != (batch, width)
                or not tensor.is_cpu
                or tensor.layout is not torch.strided
                or tensor.is_neg()
            ):
                return False
        return batch > 0

    def run(self, batch: int, x: Any, h: Any, c: Any, h_new: Any, c_new: Any, tape: Any) -> bool:
        """Take a step; False, and nothing is written, if the weights' bytes have changed."""
        x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
        return self.cell.forward(
            batch,
            x.data_ptr(),
            h.data_ptr(),
            c.data_ptr(),
            h_new.data_ptr(),
            c_new.data_ptr(),
            0 if tape is None else tape.data_ptr(),
        )

    def sums_for(self, flags: Sequence[bool]) -> Sums:
        """Return the sums of the graph that steps with these weights are part of.

        The graph's nodes own them, so that they end with it.
        """
        sums = None if self._sums is None else self._sums()
        if sums is None or sums.flags != flags:
            sums = Sums(self, flags)
            self._sums = weakref.ref(sums)
        return sums


def _mark(weight: Any) -> tuple[Any, ...]:
    """Return the address, layout and, as far as PyTorch counts them, version of a parameter."""
    return weight.data_ptr(), weight._version, weight.shape, weight.is_contiguous()


def _packed(module: Any, weights: Sequence[Any]) -> Packed | None:
    """Return the packed weights, packed now unless the last call did; None: not for steps."""
    packed: Packed | None = module._steps
    if packed is not None and packed.frozen == bool(module._frozen) and packed.serves(weights):
        return packed
    return _pack(module, weights)


def _pack(module: Any, weights: Sequence[Any]) -> Packed | None:
    blocks = module._frozen  # read once, since another thread may end its block
    if any(type(weight) is not torch.nn.Parameter for weight in weights):
        return None
    plan = module._plan()
    if not _core.LstmCell.serves(plan.core):
        return None
    if any(weight.is_inference() or not weight.is_contiguous() for weight in weights):
        return None
    if not blocks and sum(weight.nbytes for weight in weights) > Remembered.MOST_BYTES:
        return None
    packed = Packed(plan, weights, blocks[-1].packed(plan, weights) if blocks else None)
    module._steps = packed
    return packed


class Sums:
    """What the steps of a graph share: packed weights, and their gradients while they are summed.

    Attributes
    ----------
    flags : list of bool
        Whether each parameter requires a gradient.
    token : Tensor or None
        An output of the node that stands for the weights, which all steps take as an input; None
        if no weight requires a gradient.
    """

    def __init__(self, packed: Packed, flags: Sequence[bool]) -> None:
        self.plan = packed.plan
        self.cell = packed.cell
        self.lstm = packed.lstm
        self.weights = packed.weights
        self.flags = list(flags)
        # Apart from what refers to the node, since the node refers to it.
        self.terms = Terms(packed)
        self.token = _Weights.apply(self.terms, *self.weights) if any(flags) else None
        self._node = None if self.token is None else self.token.grad_fn

    def terms_wanted(self) -> bool:
        """Return whether the backward pass that is running goes on to the weights."""
        node = self._node
        return node is not None and torch._C._will_engine_execute_node(node)


class Terms:
    """Shares of steps in the weights' gradients, separate for each backward pass."""

    def __init__(self, packed: Packed) -> None:
        self.plan = packed.plan
        self.cell = packed.cell
        self.dtype = packed.dtype
        self._steps: dict[int, list[tuple[Any, Any, Any]]] = {}
        self._gradients: dict[int, list[Sequence[Any]]] = {}

    def add_step(self, x: Any, h: Any, dgates: Any) -> None:
        """Leave a step's contiguous x, h and gates' gradients to the pass that is running."""
        task = torch._C._current_graph_task_id()
        self._steps.setdefault(task, []).append((x, h, dgates))

    def add_gradients(self, gradients: Sequence[Any]) -> None:
        """Leave gradients with respect to the engine's weights, which may have a graph."""
        task = torch._C._current_graph_task_id()
        self._gradients.setdefault(task, []).append(gradients)

    def take(self, needs: Sequence[bool]) -> list[Any]:
        """Return the gradients of the pass that is running, with respect to the parameters."""
        task = torch._C._current_graph_task_id()
        steps, rest = self._steps.pop(task, []), self._gradients.pop(task, [])
        needed = [False, False, False, *needs]
        wanted = needs_of(self.plan, needed)[3:]
        totals = self._product(steps, wanted) if steps else [None] * len(wanted)
        for gradients in rest:
            totals = [_sum(*pair) for pair in zip(totals, gradients, strict=True)]
        return spread(self.plan, [None, None, None, *totals], needed)[3:]

    def _product(self, steps: Sequence[tuple[Any, Any, Any]], wanted: Sequence[bool]) -> list[Any]:
        results: list[Any] = []
        arrays = {}
        for needed, (name, first, _) in zip(wanted, self.plan.places, strict=True):
            gradient: Any = None
            if needed:
                gradient = torch.empty(self.plan.shapes[first], dtype=self.dtype, device="cpu")
                arrays[name] = gradient.numpy()
            results.append(gradient)
        rows = [
            (x.size(0), x.data_ptr(), h.data_ptr(), dgates.data_ptr()) for x, h, dgates in steps
        ]
        self.cell.weight_gradients(rows, arrays)
        return results


def _sum(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return first + second


class _Weights(torch.autograd.Function):
    """Maps (terms, *weights) to a token. Its gradients do not come through the token: see `Terms`."""

    @staticmethod
    def forward(ctx: Any, terms: Terms, *weights: Any) -> Any:
        ctx.terms = terms
        ctx.set_materialize_grads(False)
        return weights[0].new_empty(0)

    @staticmethod
    def backward(ctx: Any, _: Any) -> Any:
        return (None, *ctx.terms.take(ctx.needs_input_grad[1:]))


class _Step(torch.autograd.Function):
    """Maps ((sums, h_new, c_new, tape), x, h, c, token) to h_new and c_new, computed before."""

    @staticmethod
    def forward(ctx: Any, done: Any, x: Any, h: Any, c: Any, token: Any) -> Any:
        sums, h_new, c_new, tape = done
        ctx.sums = sums
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h, c, tape, *sums.weights)
        return h_new, c_new

    @staticmethod
    def backward(ctx: Any, dh: Any, dc: Any) -> Any:
        x, h, c, tape, *weights = ctx.saved_tensors
        sums: Sums = ctx.sums
        needs = ctx.needs_input_grad[1:4]
        if dh is None and dc is None:
            return None, None, None, None, None
        transformed = torch._C._are_functorch_transforms_active() or _any_batched((dh, dc))
        if torch.is_grad_enabled() or transformed:
            results = _differentiable(sums, needs, (dh, dc), (x, h, c), weights)
            return (None, *results, None)
        batch = x.size(0)
        dgates = tape.new_empty(batch * sums.cell.gradient_width)
        dx, dh_before, dc_before = (
            tape.new_empty(tensor.shape) if wanted else None
            for tensor, wanted in zip((x, h, c), needs, strict=True)
        )
        dh = None if dh is None else dh.contiguous()
        dc = None if dc is None else dc.contiguous()
        sums.cell.backward(
            batch,
            tape.data_ptr(),
            *(
                0 if tensor is None else tensor.data_ptr()
                for tensor in (dh, dc, dgates, dx, dh_before, dc_before)
            ),
        )
        if sums.terms_wanted():
            sums.terms.add_step(x.contiguous(), h.contiguous(), dgates)
        return None, dx, dh_before, dc_before, None


def _differentiable(
    sums: Sums, needs: Sequence[bool], outputs: Any, inputs: Any, weights: Sequence[Any]
) -> tuple[Any, ...]:
    """Return gradients with respect to x, h and c that have a graph, and leave the weights'."""
    plan = sums.plan
    call = Call(plan, False, True, False, None, None, None, 0, False, sums.lstm)
    wanted = sums.terms_wanted()
    flags = sums.flags if wanted else [False] * len(sums.flags)
    results = _apply(
        _Backward,
        call,
        needs_of(plan, [*needs, *flags]),
        _NO_TAPE,
        None,
        *outputs,
        *inputs,
        *weights,
    )
    if wanted:
        sums.terms.add_gradients(results[3:])
    return tuple(results[:3])

"""Steps of a plain cell in a loop: one call of the engine each, one sum for the weights' gradients.

A loop over a cell has as many nodes in PyTorch's graph as steps. If each returned gradients with
respect to the weights, writing and adding these would take most of the time. Here the steps share a
node that stands for the weights (`_Weights`): each step stores its gates' gradients for that node,
and when a backward pass reaches the node, after all steps, one product sums them. Hooks,
``retain_graph``, ``inputs=`` and several passes at the same time see what PyTorch's own cell shows,
since gradients are collected separately for each pass.
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
from lstmcore.torch.weights import Frozen, Remembered, pack

# Bound once, since a step takes only a few microseconds.
_empty_like = torch.empty_like
_grad_enabled = torch.is_grad_enabled
_strided = torch.strided
_Tensor = torch.Tensor
_tracing = torch._C._get_tracing_state
_transforms_active = torch._C._are_functorch_transforms_active

_NO_TAPE = torch.full((1,), -1, dtype=torch.int64, device="cpu")  # then the forward runs again


def step(module: Any, x: Any, hx: Any) -> tuple[Any, Any] | None:
    """Return h and c after a step of an `LSTMCell`.

    Return None if the general call must take over: for variants of the cell, unusual tensors and
    wrong arguments, and inside compilation, tracing and transforms.
    """
    if (
        torch.compiler.is_compiling()
        or _transforms_active()
        or forward_ad._current_level >= 0
        or _tracing() is not None
        or (module._masks and module.training)
    ):
        return None
    packed: Packed | None = module._steps
    if packed is None or not packed.serves(module):
        packed = _pack(module)
    if packed is None or type(x) is not _Tensor or x.dim() != 2:
        return None
    if hx is None:
        h = c = x.new_zeros(x.size(0), packed.hidden)
    elif type(hx) is tuple and len(hx) == 2:
        h, c = hx
    else:
        return None
    if not packed.fits(x, h, c):
        return None
    x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
    flags = None
    if _grad_enabled():
        flags = [weight.requires_grad for weight in packed.weights]
    keep = flags is not None and (
        x.requires_grad or h.requires_grad or c.requires_grad or any(flags)
    )
    outputs = packed.run(x, h, c, keep)
    if outputs is None:
        packed = _pack(module)  # the weights' bytes have changed
        outputs = None if packed is None else packed.run(x, h, c, keep)
        if packed is None or outputs is None:
            return None
    h_new, c_new, tape = outputs
    if flags is None or tape is None:
        return h_new, c_new
    sums = packed.sums_for(flags)
    return _Step.apply((sums, h_new, c_new, tape), x, h, c, sums.token)  # type: ignore[no-any-return]


class Packed:
    """The packed weights of a module, for steps that find the same parameters unchanged."""

    def __init__(
        self, plan: Plan, names: Sequence[str], weights: Sequence[Any], block: Frozen | None
    ) -> None:
        self.plan = plan
        self.hidden = plan.config.hidden_size
        self.inputs = plan.config.input_size
        self.dtype = weights[0].dtype
        self.block = block  # the block of `frozen`, in which the weights do not change
        self.weights = tuple(weights)
        self._marks = [
            (name, weight, weight.data_ptr(), weight._version, weight.shape)
            for name, weight in zip(names, weights, strict=True)
        ]
        addresses: list[int] = []
        copies: list[Any] = []
        if block is not None:
            lstm = block.packed(plan, weights)
        else:
            # Packs copies, since another thread may change the tensors in the meantime.
            addresses = [weight.data_ptr() for weight in weights]
            copies = [
                array_of(weight, name, weights[0]).copy()
                for weight, name in zip(weights, plan.names, strict=True)
            ]
            lstm = pack(plan, [torch.from_numpy(copy) for copy in copies])
        self.lstm = lstm
        self.cell = _core.LstmCell(lstm, addresses, copies)
        self.tape_width = self.cell.tape_width
        self.gradient_width = self.cell.gradient_width
        self._sums: weakref.ref[Sums] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()  # a copy of a module packs its own weights

    def serves(self, module: Any) -> bool:
        """Return whether a module's weights are unchanged, as far as PyTorch records changes."""
        if self.block is not _block(module):
            return False
        parameters = module._parameters
        for name, seen, address, version, shape in self._marks:
            weight = parameters.get(name)
            if (
                weight is not seen
                or weight._version != version
                or weight.data_ptr() != address
                or weight.shape != shape
                or not weight.is_contiguous()
            ):
                return False
        return True

    def fits(self, x: Any, h: Any, c: Any) -> bool:
        """Return whether x (N, C), h and c (N, H) are plain dense tensors of the weights' dtype."""
        batch = x.size(0)
        state = (batch, self.hidden)
        return (
            x.shape == (batch, self.inputs)
            and _is_plain(x, self.dtype)
            and type(h) is _Tensor
            and h.shape == state
            and _is_plain(h, self.dtype)
            and type(c) is _Tensor
            and c.shape == state
            and _is_plain(c, self.dtype)
            and batch > 0
        )

    def run(self, x: Any, h: Any, c: Any, keep: bool) -> tuple[Any, Any, Any] | None:
        """Return h and c after a step, and a tape if wanted; None if the weights have changed."""
        h_new, c_new = _empty_like(h), _empty_like(c)
        batch = x.size(0)
        tape = x.new_empty(batch * self.tape_width) if keep else None
        same = self.cell.forward(
            batch,
            x.data_ptr(),
            h.data_ptr(),
            c.data_ptr(),
            h_new.data_ptr(),
            c_new.data_ptr(),
            0 if tape is None else tape.data_ptr(),
        )
        return (h_new, c_new, tape) if same else None

    def sums_for(self, flags: Sequence[bool]) -> Sums:
        """Return the sums of the graph that steps with these weights are part of.

        The graph's nodes own them, so they are freed with it.
        """
        sums = None if self._sums is None else self._sums()
        if sums is None or sums.flags != flags:
            sums = Sums(self, flags)
            self._sums = weakref.ref(sums)
        return sums


def _nothing() -> None:
    """Return what a copy of packed weights is."""


def _is_plain(tensor: Any, dtype: torch.dtype) -> bool:
    """Return whether a tensor is dense, on the CPU and of this dtype."""
    return (
        tensor.dtype is dtype
        and tensor.is_cpu
        and tensor.layout is _strided
        and not tensor.is_neg()
    )


def _dense(tensor: Any, dtype: torch.dtype) -> Any:
    """Return a tensor as the engine reads it.

    Gradients may be views, also negated ones, and hooks of saved tensors may return any layout.
    """
    if tensor.dtype is dtype and tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    return tensor.to(dtype).resolve_neg().contiguous()


def _block(module: Any) -> Frozen | None:
    blocks = module._frozen  # read once, since another thread may end its block
    return blocks[-1] if blocks else None


def _pack(module: Any) -> Packed | None:
    """Pack a module's weights for the steps to come; None if these steps do not support them."""
    names = module._weight_names()
    weights = [module._parameters.get(name) for name in names]
    block = _block(module)
    if any(type(weight) is not torch.nn.Parameter for weight in weights):
        return None
    plan = module._plan()
    if not _core.LstmCell.serves(plan.core):
        return None
    if any(weight.is_inference() or not weight.is_contiguous() for weight in weights):
        return None
    if block is None and sum(weight.nbytes for weight in weights) > Remembered.MOST_BYTES:
        return None
    packed = Packed(plan, names, weights, block)
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
        self.gradient_width = packed.gradient_width
        self.lstm = packed.lstm
        self.weights = packed.weights
        self.flags = list(flags)
        # Separate from `self`, which refers to the node, since the node refers to `terms`.
        self.terms = Terms(packed)
        self.token = _Weights.apply(self.terms, *self.weights) if any(flags) else None
        self._node = None if self.token is None else self.token.grad_fn

    def terms_wanted(self) -> bool:
        """Return whether the backward pass that is running goes on to the weights."""
        node = self._node
        if node is None or torch.compiler.is_compiling():  # compiled autograd has no engine to ask
            return node is not None
        return torch._C._will_engine_execute_node(node)  # type: ignore[no-any-return]

    def token_gradient(self) -> Any:
        """Return the gradient of the token, which no one reads: None where that is allowed."""
        if self.token is None or not torch.compiler.is_compiling():
            return None
        return torch.zeros(0, dtype=self.terms.dtype, device="cpu")  # compiled autograd adds them


class Terms:
    """The steps' shares of the weights' gradients, separate for each backward pass."""

    def __init__(self, packed: Packed) -> None:
        self.plan = packed.plan
        self.cell = packed.cell
        self.dtype = packed.dtype
        self._steps: dict[int, list[tuple[Any, Any, Any]]] = {}
        self._gradients: dict[int, list[Sequence[Any]]] = {}

    def add_step(self, x: Any, h: Any, dgates: Any) -> None:
        """Store a step's contiguous x, h and gates' gradients for the pass that is running."""
        task = torch._C._current_graph_task_id()
        self._steps.setdefault(task, []).append((x, h, dgates))

    def add_gradients(self, gradients: Sequence[Any]) -> None:
        """Store gradients with respect to the engine's weights, which may have a graph."""
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
    """Maps (terms, *weights) to a token; gradients bypass the token through `terms`."""

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
            return None, None, None, None, sums.token_gradient()
        transformed = _transforms_active() or _any_batched((dh, dc))
        if _grad_enabled() or transformed:
            results = _differentiable(sums, needs, (dh, dc), (x, h, c), weights)
            return (None, *results, sums.token_gradient())
        dtype = sums.terms.dtype
        x, h, tape = _dense(x, dtype), _dense(h, dtype), _dense(tape, dtype)
        batch = x.size(0)
        dgates = tape.new_empty(batch * sums.gradient_width)
        dx = _empty_like(x) if needs[0] else None
        dh_before = _empty_like(h) if needs[1] else None
        dc_before = _empty_like(h) if needs[2] else None
        dh = None if dh is None else _dense(dh, dtype)
        dc = None if dc is None else _dense(dc, dtype)
        sums.cell.backward(
            batch,
            tape.data_ptr(),
            0 if dh is None else dh.data_ptr(),
            0 if dc is None else dc.data_ptr(),
            dgates.data_ptr(),
            0 if dx is None else dx.data_ptr(),
            0 if dh_before is None else dh_before.data_ptr(),
            0 if dc_before is None else dc_before.data_ptr(),
        )
        if sums.terms_wanted():
            sums.terms.add_step(x, h, dgates)
        return None, dx, dh_before, dc_before, sums.token_gradient()


def _differentiable(
    sums: Sums, needs: Sequence[bool], outputs: Any, inputs: Any, weights: Sequence[Any]
) -> tuple[Any, ...]:
    """Return gradients with a graph with respect to x, h and c, and store the weights'."""
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

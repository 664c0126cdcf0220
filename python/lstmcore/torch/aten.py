"""PyTorch's own kernels of its LSTM operators, which no registration over them changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstmcore.torch.engine import Call

LSTM_INPUT, LSTM_DATA, LSTM_CELL = "lstm.input", "lstm.data", "lstm_cell"

OPERATORS = {
    LSTM_INPUT: torch.ops.aten.lstm.input,
    LSTM_DATA: torch.ops.aten.lstm.data,
    LSTM_CELL: torch.ops.aten.lstm_cell.default,
}
"""PyTorch's operators that compute an LSTM, by their names in its library ``aten``."""

_OWN = torch._C.DispatchKey.CompositeImplicitAutograd
_PYTHON = torch._C.DispatchKey.PythonDispatcher


def own(name: str, *arguments: Any) -> Any:
    """Call PyTorch's own kernel of the operator `name`, with whatever errors it raises.

    While PyTorch traces, a kernel written in Python may take its place, as without lstmcore.
    """
    operator = OPERATORS[name]
    # A mode of __torch_function__ would call the operator again, and with it what is registered.
    with torch._C.DisableTorchFunction():
        if torch._C._dispatch_tls_is_dispatch_key_included(_PYTHON):
            return operator.decompose(*arguments)
        return operator._op_dk(_OWN, *arguments)


def computes(call: Call) -> bool:
    """Return whether `run` computes the same function as the engine."""
    return (
        call.plan.plain
        and not call.random
        and call.reset is None
        and call.mask is None
        and (call.lengths is None or bool(np.all(call.lengths > 0)))
    )


def run(call: Call, x: Any, h: Any, c: Any, weights: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return y (None for a cell), h and c of a call of the engine, by PyTorch's own kernels.

    The axes of x, h and c are those of `lstmcore.torch.engine.forward`; h and c may be None.
    """
    config = call.plan.config
    if call.cell:
        x = x.unsqueeze(0)
        h, c = (None if part is None else part.unsqueeze(0) for part in (h, c))
    elif not call.time_major:
        x = x.transpose(0, 1)
    cells = config.num_layers * config.num_directions
    if h is None:
        h = x.new_zeros(cells, x.size(1), config.state_size)
    if c is None:
        c = x.new_zeros(cells, x.size(1), config.hidden_size)
    # As for training, since its kernel for inference need not store what gradients need.
    how = (config.bias, config.num_layers, 0.0, True, config.bidirectional)
    if call.lengths is None:
        y, h, c = own(LSTM_INPUT, x, [h, c], list(weights), *how, False)
    else:
        y, h, c = _run_packed(x, h, c, weights, torch.from_numpy(call.lengths), how)
    if call.cell:
        return None, h.squeeze(0), c.squeeze(0)
    return y if call.time_major else y.transpose(0, 1), h, c


def _run_packed(
    x: Any, h: Any, c: Any, weights: Sequence[Any], lengths: Any, how: Sequence[Any]
) -> tuple[Any, Any, Any]:
    """Return y (T, N, D * P), h and c for rows of different lengths, in any order."""
    data, sizes, order, back = pack_padded_sequence(x, lengths, enforce_sorted=False)
    state = [h.index_select(1, order), c.index_select(1, order)]
    y, h, c = own(LSTM_DATA, data, sizes, state, list(weights), *how)
    packed = PackedSequence(y, sizes, order, back)
    y, _ = pad_packed_sequence(packed, total_length=x.size(0))
    return y, h.index_select(1, back), c.index_select(1, back)

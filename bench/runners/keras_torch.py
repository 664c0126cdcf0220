"""Keras on PyTorch: its layers on PyTorch's own tensors, batch first; the whole training step with
`train_on_batch`.
"""

from __future__ import annotations

from typing import Any

from bench.problem import digest, make_problem
from bench.runners import Prepared
from bench.runners.keras_model import KerasRunner, joined, lstm_layers, mask, states
from bench.runners.pytorch import load as load_pytorch
from bench.runners.pytorch import torch
from bench.shapes import Case


def load(threads: int) -> KerasRunner:
    """Set the number of threads."""
    load_pytorch(threads)
    return KerasRunner(_layers, False, {"torch": str(torch.__version__)})


def _layers(case: Case) -> Prepared:
    shape = case.shape
    problem = make_problem(case)
    layers = lstm_layers(case, problem)
    valid = mask(case, problem)
    state = states(case, problem)
    x, dy = torch.from_numpy(problem.x), torch.from_numpy(problem.dy)
    weights = [weight.value for layer in layers for weight in layer.trainable_variables]
    inputs = [x, *(part for pair in state for part in pair)]

    def forward() -> Any:
        y = x
        for first in range(0, len(layers), shape.num_directions):
            cells = range(first, first + shape.num_directions)
            y = joined([layers[cell](y, initial_state=state[cell], mask=valid) for cell in cells])
        return y

    def infer() -> Any:
        with torch.inference_mode():
            return forward()

    def train() -> Any:
        y = forward()
        return y, torch.autograd.grad(y, [*inputs, *weights], dy)

    if case.training:
        for tensor in inputs:
            tensor.requires_grad_()

    def sums() -> dict[str, float]:
        if not case.training:
            return digest(shape, infer().numpy())
        y, gradients = train()
        return digest(shape, y.detach().numpy(), gradients[0].numpy())

    return Prepared({"keras.layers.LSTM": train if case.training else infer}, sums)

"""The entity-aware LSTM against the same equations in PyTorch, written step by step."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

torch = pytest.importorskip("torch")

N, T, C, S, H = 4, 7, 3, 5, 6


class Plain(torch.nn.Module):
    """As in the paper, with the static gate outside the loop; gates f, g, o."""

    def __init__(self, weights):
        super().__init__()
        for name, values in weights.items():
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(values.copy())))

    def forward(self, x, s):
        gate = torch.sigmoid(s @ self.weight_static.T + self.bias_static)
        h = c = torch.zeros(len(x), H, dtype=x.dtype)
        for step in x.unbind(1):
            sums = step @ self.weight_ih_l0.T + h @ self.weight_hh_l0.T + self.bias_l0
            f, g, o = sums.chunk(3, dim=1)
            c = torch.sigmoid(f) * c + gate * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


def test_values_and_gradients(rng):
    sequence, static = lc.Input((None, C)), lc.Input((S,))
    model = lc.Model([sequence, static], layers.EALSTM(H)([sequence, static]), dtype="float64")
    model.set_weights([rng.standard_normal(one.shape) for one in model.get_weights()])
    x, s, y = (rng.standard_normal(shape) for shape in ((N, T, C), (N, S), (N, H)))
    theirs = Plain({name.removeprefix("ealstm."): value for name, value in model.weights.items()})
    outputs = theirs(torch.tensor(x), torch.tensor(s))
    np.testing.assert_allclose(model.predict([x, s]), outputs.detach(), atol=1e-13)
    torch.nn.functional.mse_loss(outputs, torch.tensor(y)).backward()
    model.compile(lc.optimizers.SGD(0.0), "mse")
    model.train_on_batch([x, s], y)
    for name, parameter in theirs.named_parameters():
        own = model.parameters.gradient(f"ealstm.{name}")
        np.testing.assert_allclose(own, parameter.grad, atol=1e-14, rtol=1e-10)

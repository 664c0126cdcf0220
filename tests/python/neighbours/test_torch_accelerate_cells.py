"""Steps of cells under `accelerate`: what C++ checks, and what it leaves to Python."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import cells  # noqa: E402
from lstmcore.torch.plan import plan_of  # noqa: E402

if cells._READER is None:
    pytest.skip("PyTorch is older than 2.10", allow_module_level=True)


class Mine(torch.Tensor):
    """A subclass that changes nothing."""


def arguments(**changes):
    """Return x, h, c, weights, and room for h and c after the step; some of them changed."""
    torch.manual_seed(0)
    weights = [part.detach() for part in torch.nn.LSTMCell(5, 7).parameters()]
    rows = {"x": torch.randn(3, 5), "h": torch.randn(3, 7), "c": torch.randn(3, 7)}
    outputs = {"h_new": torch.zeros(3, 7), "c_new": torch.zeros(3, 7)}
    tensors = {**rows, "weights": weights, **outputs}
    cell = cells.Cell(plan_of(5, 7, 1, True, 0.0, False, 0, ""), weights)
    for name, change in changes.items():
        if name.startswith("weight"):
            tensors["weights"][int(name[-1])] = change(tensors["weights"][int(name[-1])])
        else:
            tensors[name] = change(tensors[name])
    return cell, tensors


def step(cell, x, h, c, weights, h_new, c_new):
    return cell.cell.step(cells._READER, x, h, c, tuple(weights), h_new, c_new, None)


def test_a_step():
    cell, tensors = arguments()
    assert step(cell, **tensors) is True
    expected = torch._VF.lstm_cell(tensors["x"], (tensors["h"], tensors["c"]), *tensors["weights"])
    for mine, other in zip((tensors["h_new"], tensors["c_new"]), expected, strict=True):
        torch.testing.assert_close(mine, other)


LEFT = {
    "another class": {"x": lambda x: x.as_subclass(Mine)},
    "no tensor": {"h": lambda h: h.numpy()},
    "dtype": {"x": lambda x: x.double()},
    "integers": {"c": lambda c: c.to(torch.int32)},
    "rows": {"h": lambda h: h[:2]},
    "no rows": {"x": lambda x: x[:0]},
    "features": {"x": lambda x: x[:, :4].contiguous()},
    "axes": {"x": lambda x: x[0]},
    "strides": {"x": lambda x: torch.cat([x, x], 1)[:, :5]},
    "transposed": {"h": lambda h: torch.randn(7, 3).t()},
    "negated": {"h": torch._neg_view},
    "sparse": {"x": lambda x: x.to_sparse()},
    "meta": {"x": lambda x: x.to("meta")},
    "other memory": {"weight1": lambda weight: weight.clone()},
    "negated weights": {"weight1": torch._neg_view},
    "shape of the weights": {"weight1": lambda weight: weight.view(14, 14)},
    "width of the output": {"c_new": lambda c: torch.zeros(3, 8)},
}


@pytest.mark.parametrize("case", LEFT)
def test_what_python_has_to_look_at(case):
    cell, tensors = arguments(**LEFT[case])
    assert step(cell, **tensors) is None


def test_fewer_weights():
    cell, tensors = arguments()
    tensors["weights"] = tensors["weights"][:2]
    assert step(cell, **tensors) is None


def test_changed_weights_are_noticed():
    cell, tensors = arguments()
    tensors["weights"][1].numpy()[0, 0] += 1
    assert step(cell, **tensors) is False


def test_readers_need_functions_of_dlpack():
    with pytest.raises(TypeError):
        lt.cells._core.TensorReader(None, (torch.Tensor,))


@pytest.mark.parametrize("grad", [True, False])
def test_steps_with_strides_and_parameters(grad):
    """Such tensors take the longer way, with the same results."""
    cell = torch.nn.LSTMCell(5, 7)
    start = torch.nn.Parameter(torch.randn(3, 7))
    x = torch.randn(3, 4, 5)
    results = []
    for fast in (False, True):
        use = lt.accelerate() if fast else None
        state = start, start
        with torch.set_grad_enabled(grad):
            for t in range(4):
                state = cell(x[:, t], state)
        results.append([*state])
        if grad:
            results[-1] += torch.autograd.grad(state[0].sum(), [start, *cell.parameters()])
        if use is not None:
            use.undo()
    assert lt.accelerated_calls() == ({"lstm_cell": 4}, {})
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other)

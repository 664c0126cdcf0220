"""Parity with PyTorch, where it is installed: outputs, states and every gradient."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
from lstmcore import _core  # noqa: E402
from lstmcore import functional as F  # noqa: E402

# (input, hidden, layers, bidirectional, batch, steps[, projection]), each named for what it adds.
SHAPES = {
    "single step": (7, 12, 1, False, 5, 1),
    "the demo's": (64, 128, 1, False, 32, 60),
    "long": (4, 20, 1, False, 3, 200),
    "stacked and bidirectional": (20, 33, 3, True, 7, 40),
    "batch one": (17, 70, 1, True, 1, 50),
    "hidden units split over threads": (32, 400, 1, False, 2, 30),
    "projection": (10, 40, 2, True, 6, 40, 13),
    "projection, units split over threads": (32, 400, 1, False, 2, 30, 200),
}
# Relative to the largest entry: the project's promise for T up to 200.
TOLERANCES = {"float64": (1e-12, 1e-12), "float32": (2e-6, 1e-5)}


def make(shape, dtype, seed=0):
    size, hidden, layers, bidirectional, batch, steps, *projection = shape
    torch.manual_seed(seed)
    module = torch.nn.LSTM(
        size,
        hidden,
        layers,
        bidirectional=bidirectional,
        batch_first=True,
        proj_size=projection[0] if projection else 0,
        dtype=getattr(torch, dtype),
    )
    cells = layers * (2 if bidirectional else 1)
    inputs = {
        "x": torch.randn(batch, steps, size, dtype=module.weight_ih_l0.dtype),
        "h0": torch.randn(cells, batch, *(projection or [hidden]), dtype=module.weight_ih_l0.dtype),
        "c0": torch.randn(cells, batch, hidden, dtype=module.weight_ih_l0.dtype),
    }
    return module, {name: tensor.requires_grad_() for name, tensor in inputs.items()}


def to_engine(module, of=lambda parameter: parameter.detach()):
    """Convert weights: add PyTorch's two biases; their gradients are equal, so either will do."""
    weights = {}
    for name, parameter in module.named_parameters():
        if name.startswith("weight"):
            weights[name] = of(parameter).numpy().copy()
        elif name.startswith("bias_ih"):
            weights[name.replace("bias_ih", "bias")] = of(parameter).numpy().copy()
    return weights


def weights_of(module):
    weights = to_engine(module)
    for name, parameter in module.named_parameters():
        if name.startswith("bias_hh"):
            weights[name.replace("bias_hh", "bias")] += parameter.detach().numpy()
    return weights


def error(actual, expected):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    return np.abs(actual - expected).max() / np.abs(expected).max()


def compare(module, inputs, shape, dtype, lengths=None):
    size, hidden, layers, bidirectional, _, steps, *projection = shape
    forward, backward = TOLERANCES[dtype]
    sequence = inputs["x"]
    if lengths is not None:
        sequence = torch.nn.utils.rnn.pack_padded_sequence(
            sequence, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
    y, (h, c) = module(sequence, (inputs["h0"], inputs["c0"]))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
    dy, dh, dc = torch.randn_like(y), torch.randn_like(h), torch.randn_like(c)
    ((y * dy).sum() + (h * dh).sum() + (c * dc).sum()).backward()

    arrays = {name: tensor.detach().numpy() for name, tensor in inputs.items()}
    width = projection[0] if projection else 0
    config = lc.LSTMConfig(size, hidden, layers, bidirectional, proj_size=width)
    own_y, state, tape = F.lstm(
        arrays["x"],
        weights_of(module),
        config,
        state=(arrays["h0"], arrays["c0"]),
        lengths=lengths,
        training=True,
    )
    for actual, expected in ((own_y, y), (state.h, h), (state.c, c)):
        assert actual.dtype == dtype
        assert error(actual, expected) < forward
    gradients = F.lstm_backward(tape, dy.numpy(), (dh.numpy(), dc.numpy()))
    assert error(gradients.x, inputs["x"].grad) < backward
    assert error(gradients.state[0], inputs["h0"].grad) < backward
    assert error(gradients.state[1], inputs["c0"].grad) < backward
    for name, expected in to_engine(module, lambda parameter: parameter.grad).items():
        assert error(gradients.weights[name], expected) < backward, name


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_whole_batch(shape, dtype):
    module, inputs = make(shape, dtype)
    compare(module, inputs, shape, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_batch_matches_the_packed_sequence(bidirectional, dtype):
    shape = (6, 18, 2, bidirectional, 9, 25)
    module, inputs = make(shape, dtype)
    lengths = np.array([25, 1, 7, 25, 13, 2, 24, 9, 3])
    compare(module, inputs, shape, dtype, lengths)


def test_training_in_windows_matches_a_loop_with_detached_states():
    """Two epochs of windows of 4 steps in float64: only the rounding of sums differs."""
    batch, steps, size, hidden, window = 3, 10, 4, 6, 4
    torch.manual_seed(2)
    module = torch.nn.LSTM(size, hidden, 2, batch_first=True, dtype=torch.float64)
    head = torch.nn.Linear(hidden, 1, dtype=torch.float64)
    x, y = torch.randn(batch, steps, size).double(), torch.randn(batch, steps, 1).double()

    model = lc.Sequential(
        [lc.layers.LSTM(hidden, num_layers=2, return_sequences=True), lc.layers.Dense(1)],
        dtype="float64",
    )
    model.build((None, None, size))
    weights = {f"lstm.{name}": values for name, values in weights_of(module).items()}
    weights["dense.kernel"] = head.weight.detach().numpy().T.copy()
    weights["dense.bias"] = head.bias.detach().numpy().copy()
    model.set_weights(weights)
    model.compile(lc.optimizers.SGD(0.1), "mse")
    options = {"batch_size": batch, "shuffle": False, "verbose": 0}
    model.fit(x.numpy(), y.numpy(), epochs=2, tbptt=window, **options)

    # One bias here is two in PyTorch, each of which takes half of a step.
    groups = [
        {"params": [p], "lr": 0.05 if "bias" in name else 0.1}
        for name, p in module.named_parameters()
    ]
    optimizer = torch.optim.SGD([*groups, {"params": head.parameters()}], lr=0.1)
    for _ in range(2):
        state = None
        for begin in range(0, steps, window):
            part = slice(begin, begin + window)
            outputs, state = module(x[:, part], state)
            state = tuple(values.detach() for values in state)
            loss = torch.nn.functional.mse_loss(head(outputs), y[:, part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, values in weights_of(module).items():
        np.testing.assert_allclose(model.weights[f"lstm.{name}"], values, rtol=1e-11, atol=1e-13)
    kernel = head.weight.detach().numpy().T
    np.testing.assert_allclose(model.weights["dense.kernel"], kernel, rtol=1e-11, atol=1e-13)


without_onednn = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")


def twice(module, inputs, directions):
    """Differentiate <direction, gradient of <dy, y>> with respect to x, all weights and dy.

    PyTorch's own loops are used, since it cannot differentiate oneDNN's forward twice.
    """
    x, dy = inputs
    parameters = list(module.parameters())
    with torch.backends.mkldnn.flags(enabled=False):
        y, _ = module(x)
        gradients = torch.autograd.grad((y * dy).sum(), [x, *parameters], create_graph=True)
        scalar = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
        return torch.autograd.grad(scalar, [x, dy, *parameters])


@without_onednn
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("layers", "bidirectional"), [(1, False), (2, True)], ids=["one layer", "stacked, both ways"]
)
def test_double_backward(layers, bidirectional, dtype):
    shape = (7, 13, layers, bidirectional, 4, 20)
    module, inputs = make(shape, dtype)
    x = inputs["x"]
    dy = torch.randn(4, 20, 26 if bidirectional else 13, dtype=x.dtype, requires_grad=True)
    directions = [torch.randn_like(tensor) for tensor in (x, *module.parameters())]
    expected_x, expected_y_tangent, *expected_weights = twice(module, (x, dy), directions)

    # The two biases are added, as are their directions.
    names = [name for name, _ in module.named_parameters()]
    tangents = {}
    for name, direction in zip(names, directions[1:], strict=True):
        own = name.replace("bias_ih", "bias").replace("bias_hh", "bias")
        tangents[own] = tangents.get(own, 0) + direction.numpy()
    config = lc.LSTMConfig(7, 13, layers, bidirectional)
    _, (y_tangent, _), tape = F.lstm_jvp(
        x.detach().numpy(),
        weights_of(module),
        config,
        x_tangent=directions[0].numpy(),
        weights_tangent=tangents,
    )
    _, twice_own = F.lstm_jvp_backward(tape, dy.detach().numpy())
    _, tolerance = TOLERANCES[dtype]
    assert error(y_tangent, expected_y_tangent) < tolerance
    assert error(twice_own.x, expected_x) < tolerance
    for name, expected in zip(names, expected_weights, strict=True):
        if not name.startswith("bias_hh"):
            own = name.replace("bias_ih", "bias")
            assert error(twice_own.weights[own], expected) < tolerance, name


@without_onednn
def test_hessian_vector_product_matches_torch_func():
    shape = (5, 9, 1, False, 3, 12)
    module, inputs = make(shape, "float64")
    x = inputs["x"].detach()
    target = torch.randn(3, 12, 9, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    vector = {name: torch.randn_like(p) for name, p in parameters.items() if "bias_hh" not in name}
    fixed = {name: p for name, p in parameters.items() if "bias_hh" in name}

    def loss(moving):
        y, _ = torch.func.functional_call(module, {**moving, **fixed}, (x,))
        return ((y - target) ** 2).mean()

    moving = {name: parameters[name] for name in vector}
    with torch.backends.mkldnn.flags(enabled=False):
        # Reverse over reverse: PyTorch's LSTM has no forward mode.
        _, pull = torch.func.vjp(torch.func.grad(loss), moving)
        (expected,) = pull(vector)

    tangents = {name.replace("bias_ih", "bias"): v.numpy() for name, v in vector.items()}
    (y, _), (y_tangent, _), tape = F.lstm_jvp(
        x.numpy(), weights_of(module), lc.LSTMConfig(5, 9), weights_tangent=tangents
    )
    _, product = F.lstm_jvp_backward(
        tape, 2 * (y - target.numpy()) / y.size, dy_tangent=2 * y_tangent / y.size
    )
    for name, wanted in expected.items():
        assert error(product.weights[name.replace("bias_ih", "bias")], wanted) < 1e-12, name


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_is_a_masked_softmax(kind, dtype):
    torch.manual_seed(0)
    lengths = np.array([30, 1, 17, 5, 29])
    x = torch.randn(5, 30, 24, dtype=getattr(torch, dtype), requires_grad=True)
    layer = lc.layers.Attention(kind, 16, scale=kind == "multiplicative")
    layer(x.detach().numpy())
    w = {
        name: torch.tensor(np.array(value), requires_grad=True)
        for name, value in layer.weights.items()
    }
    keys = x @ w["kernel"]
    if kind == "additive":
        scores = torch.tanh(keys + w["bias"]) @ w["score"]
    else:
        scores = keys @ w["query"] / 4
    valid = torch.arange(30) < torch.from_numpy(lengths)[:, None]
    weights = torch.softmax(scores.masked_fill(~valid, -torch.inf), dim=-1)
    y = (weights[..., None] * x).sum(dim=1)
    dy = torch.randn_like(y)
    (y * dy).sum().backward()

    own_y, _, context = layer.forward(x.detach().numpy(), lengths, True, 0)
    dx = layer.backward(context, dy.numpy())
    forward, backward = TOLERANCES[dtype]
    assert error(own_y, y) < forward
    assert error(context.weights[:, 0], weights) < forward
    assert error(dx, x.grad) < backward
    for name in w:
        assert error(layer._gradients[name], w[name].grad) < backward, name


def random_tensors(dtype, *shapes):
    torch.manual_seed(1)
    return [torch.randn(shape, dtype=getattr(torch, dtype), requires_grad=True) for shape in shapes]


# (N, T, C, F, K, strides, padding, dilation)
CONVOLUTIONS = {
    "same": (6, 30, 12, 20, 5, 1, "same", 1),
    "an even kernel": (3, 17, 5, 7, 4, 1, "same", 1),
    "strides": (5, 31, 12, 20, 5, 3, "valid", 1),
    "dilation": (5, 31, 12, 20, 3, 1, "same", 4),
    "both": (5, 40, 6, 9, 3, 2, "valid", 3),
    "causal": (5, 31, 12, 20, 4, 1, "causal", 2),
    "wide": (4, 50, 64, 130, 3, 1, "same", 1),
    "one feature": (2, 90, 1, 100, 9, 4, "valid", 1),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution(shape, dtype):
    n, t, c, f, k, strides, padding, dilation = shape
    x, weight, bias = random_tensors(dtype, (n, t, c), (f, c, k), (f,))
    before = {"valid": 0, "causal": dilation * (k - 1), "same": dilation * (k - 1) // 2}[padding]
    after = dilation * (k - 1) - before if padding == "same" else 0
    padded = torch.nn.functional.pad(x.transpose(1, 2), (before, after))
    convolved = torch.nn.functional.conv1d(padded, weight, bias, strides, dilation=dilation)
    expected = torch.relu(convolved).transpose(1, 2)
    dy = torch.randn_like(expected)
    (expected * dy).sum().backward()

    array, offset = x.detach().numpy(), bias.detach().numpy()
    kernel = np.ascontiguousarray(weight.detach().numpy().transpose(2, 1, 0))
    how = (strides, padding, dilation, "relu")
    y = _core.conv1d_forward(array, None, kernel, offset, *how)
    dkernel, dbias = np.empty_like(kernel), np.empty_like(offset)
    dx = _core.conv1d_backward(array, None, kernel, y, dy.numpy(), *how, True, dkernel, dbias)
    forward, backward = TOLERANCES[dtype]
    assert error(y, expected) < forward
    assert error(dx, x.grad) < backward
    assert error(dkernel.transpose(2, 1, 0), weight.grad) < backward
    assert error(dbias, bias.grad) < backward


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("size", "strides"), [(2, 2), (3, 1), (3, 2), (2, 5)])
def test_pooling(size, strides, dtype):
    (x,) = random_tensors(dtype, (5, 30, 12))
    pooled = torch.nn.functional.max_pool1d(x.transpose(1, 2), size, strides)
    expected = pooled.transpose(1, 2)
    dy = torch.randn_like(expected)
    (expected * dy).sum().backward()
    y, argmax = _core.max_pool1d_forward(x.detach().numpy(), None, size, strides, "valid")
    np.testing.assert_array_equal(y, expected.detach().numpy())
    dx = _core.max_pool1d_backward(argmax, dy.numpy(), 30)
    assert error(dx, x.grad) < TOLERANCES[dtype][0]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("width", [1, 10, 64, 100, 700])
def test_layer_normalization(width, dtype):
    x, gain, shift = random_tensors(dtype, (4, 9, width), (width,), (width,))
    expected = torch.nn.functional.layer_norm(x, (width,), gain, shift, 1e-3)
    dy = torch.randn_like(expected)
    (expected * dy).sum().backward()
    factor = gain.detach().numpy()
    arrays = x.detach().numpy(), None, factor
    y, moments = _core.layer_norm_forward(*arrays, shift.detach().numpy(), 1e-3)
    dgain, dshift = np.empty_like(factor), np.empty_like(factor)
    dx = _core.layer_norm_backward(*arrays, moments, dy.numpy(), True, dgain, dshift)
    forward, backward = TOLERANCES[dtype]
    assert error(y, expected) < forward
    if width > 1:  # with one feature, dx is zero
        assert error(dx, x.grad) < backward
        assert error(dgain, gain.grad) < backward
    assert error(dshift, shift.grad) < backward

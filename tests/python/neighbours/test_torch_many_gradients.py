"""PyTorch's ways to ask lstmcore.torch for many gradients at once."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


import lstmcore.torch as lt  # noqa: E402

# A warning of PyTorch's forward mode on first use.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def twins():
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(2, 3, dtype=torch.float64)
    ours = lt.LSTM(2, 3, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours, torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)


def last(module):
    return lambda x: module(x)[1][0]


def energy(module):
    return lambda x: (module(x)[0] ** 2).sum()


def batched(module, x, **options):
    y, _ = module(x)
    dy = torch.linspace(-1, 1, 3 * y.numel(), dtype=y.dtype).view(3, *y.shape)
    return torch.autograd.grad(y, x, dy, is_grads_batched=True, **options)[0]


def mapped(module, x):
    y, _ = module(x)
    dy = torch.linspace(-1, 1, 3 * y.numel(), dtype=y.dtype).view(3, *y.shape)
    return torch.func.vmap(lambda dy: torch.autograd.grad(y, x, dy, retain_graph=True)[0])(dy)


def slope(value, x):
    return torch.autograd.grad((value**2).sum(), x)[0]


MANY = {
    "jacobian": lambda m, x: torch.autograd.functional.jacobian(last(m), x, vectorize=True),
    "its gradient": lambda m, x: slope(
        torch.autograd.functional.jacobian(last(m), x, vectorize=True, create_graph=True), x
    ),
    "hessian": lambda m, x: torch.autograd.functional.hessian(energy(m), x, vectorize=True),
    "batched": batched,
    "gradient of batched": lambda m, x: slope(batched(m, x, create_graph=True), x),
    "mapped": mapped,
}


@pytest.mark.parametrize("function", MANY.values(), ids=MANY.keys())
def test_many_gradients_at_once(function):
    theirs, ours, x = twins()
    torch.testing.assert_close(function(ours, x), function(theirs, x), rtol=1e-12, atol=1e-13)


def test_forward_mode_vectorized():
    theirs, ours, x = twins()
    options = {"vectorize": True, "strategy": "forward-mode"}
    actual = torch.autograd.functional.jacobian(last(ours), x, **options)
    expected = torch.autograd.functional.jacobian(last(theirs), x)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["hvp", "vhp", "jvp"])
def test_products(name):
    """Includes hvp, which differentiates the second derivative with respect to the direction."""
    theirs, ours, x = twins()
    direction = torch.linspace(-1, 1, 16, dtype=x.dtype).view_as(x)
    product = getattr(torch.autograd.functional, name)
    actual, expected = (product(energy(module), x, direction)[1] for module in (ours, theirs))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


def test_hessian_vector_product_with_respect_to_the_weights():
    theirs, ours, x = twins()
    names, parameters = zip(*ours.named_parameters(), strict=True)
    parameters = tuple(parameter.detach() for parameter in parameters)
    directions = tuple(torch.randn_like(parameter) for parameter in parameters)
    results = []
    for module in (ours, theirs):

        def loss(*parameters, module=module):
            named = dict(zip(names, parameters, strict=True))
            y, (_, c) = torch.func.functional_call(module, named, (x.detach(),))
            return (y**2).sum() + c.sin().sum()

        results.append(torch.autograd.functional.hvp(loss, parameters, directions)[1])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


def test_products_are_differentiated_further():
    """By PyTorch's own kernel, where it computes the same cell."""
    theirs, ours, x = twins()
    direction = torch.ones_like(x)
    results = []
    for module in (ours, theirs):
        _, product = torch.autograd.functional.hvp(energy(module), x, direction, create_graph=True)
        results.append(torch.autograd.grad(product.square().sum(), x)[0])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-11)


def test_vmap_over_no_examples():
    _, ours, _ = twins()
    nothing = torch.zeros(0, 4, 2, 2, dtype=torch.float64)
    assert torch.func.vmap(lambda x: ours(x)[0])(nothing).shape == (0, 4, 2, 3)
    gradients = torch.func.vmap(torch.func.grad(energy(ours)))(nothing)
    assert gradients.shape == nothing.shape


def test_vmap_refuses_arguments_that_differ_between_examples():
    _, ours, _ = twins()
    x = torch.zeros(3, 4, 2, 2, dtype=torch.float64)
    for name, value in (
        ("lengths", torch.ones(3, 2, dtype=torch.int64)),
        ("mask", torch.ones(3, 4, 2, dtype=torch.bool)),
    ):
        call = torch.func.vmap(lambda x, value, name=name: ours(x, **{name: value})[0])
        with pytest.raises(RuntimeError, match=f"{name}: expected the same for all examples"):
            call(x, value)
    random = lt.LSTM(2, 3, zoneout_h=0.5, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r'with vmap\(..., randomness="same"\)'):
        torch.func.vmap(lambda x: random(x)[0], randomness="different")(x)
    y = torch.func.vmap(lambda x: random(x)[0], randomness="same")(x)
    assert torch.equal(y[0], y[1])

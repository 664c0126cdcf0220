"""`accelerate` under models and training loops of other libraries, in their own words unchanged.

Their packages are heavy: `make test-models-of-others` installs them, and nothing else does.
"""

import importlib.util

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from bench import models_of_others as others  # noqa: E402
from torch_kit import assert_same, on_both  # noqa: E402

# What these libraries use will be removed from SciPy, NumPy and PyTorch, and they say so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def one_thread():
    """So that other processes on the machine do not slow the small products down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def needs(package):
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"{package} comes with make test-models-of-others")


@needs("resemblyzer")
def test_resemblyzer():
    """Embeddings of a sound and of its parts by the pretrained encoder."""
    embed = others.resemblyzer(seconds=6.0)
    (whole, parts), expected = on_both(embed, "lstm.input")
    assert whole.shape == (256,)
    assert len(parts) > 3
    assert_same([whole, parts], expected)


@needs("lightning")
def test_lightning():
    """Packed sequences, dropout, clipped gradients: the same losses and the same weights."""
    (losses, *weights), expected = on_both(others.lightning(), "lstm.data")
    assert losses[-8:].mean() < 0.85 * losses[:8].mean()
    assert_same([losses, *weights], expected)


@needs("sb3_contrib")
def test_recurrent_ppo():
    """The same episodes until rounding decides about an action, and what is learnt at the end.

    An action is drawn from probabilities that agree to rounding: after some thousand draws one of
    them differs (here after 7000 steps), and with it all that follows.
    """
    (times, rewards), (expected_times, expected) = on_both(others.recurrent_ppo(), "lstm.input")
    same = int((times <= 2048).sum())
    assert same > 50
    assert torch.equal(times[:same], expected_times[:same])
    assert torch.equal(rewards[:same], expected[:same])
    for curve in (rewards, expected):
        assert curve[:20].mean() < 30 < 60 < curve[-20:].mean()

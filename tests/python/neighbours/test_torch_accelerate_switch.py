"""`accelerate` begins, nests, counts, logs and ends, and then nothing of it is left."""

import logging
import os
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lstmcore as lc  # noqa: E402
import lstmcore.torch as lt  # noqa: E402
from lstmcore.torch import accelerate, accelerated_calls  # noqa: E402
from lstmcore.torch.aten import OPERATORS  # noqa: E402


def tables():
    """Return what PyTorch's dispatcher has registered and would call, for each operator."""
    names = [operator.name() for operator in OPERATORS.values()]
    return [
        text
        for name in names
        for text in (torch._C._dispatch_dump(name), torch._C._dispatch_dump_table(name))
    ]


PLAIN = tables()
LSTM, CELL = torch.nn.LSTM(3, 4), torch.nn.LSTMCell(3, 4)
X = torch.randn(5, 2, 3)


def accelerated():
    """Return whether a call runs on lstmcore now."""
    before = sum(accelerated_calls().engine.values())
    LSTM(X)
    return sum(accelerated_calls().engine.values()) != before


def test_a_call_is_in_effect_until_undo():
    expected = [*LSTM(X)[0], *CELL(X[0])]
    use = accelerate()
    try:
        assert repr(use) == "<Acceleration: in effect>"
        assert accelerated()
        assert tables() != PLAIN
    finally:
        use.undo()
    assert repr(use) == "<Acceleration: ended>"
    assert not accelerated()
    assert tables() == PLAIN
    assert all(map(torch.equal, [*LSTM(X)[0], *CELL(X[0])], expected))
    use.undo()  # a second one does nothing
    with accelerate():
        use.undo()
        assert accelerated()


def test_uses_nest_and_end_in_any_order():
    with accelerate():
        first = accelerate()
        with accelerate():
            assert accelerated()
        assert accelerated()
        second = accelerate()
        first.undo()
        assert accelerated()
    assert accelerated()
    second.undo()
    assert not accelerated()
    assert tables() == PLAIN


def test_one_object_may_be_used_again():
    use = accelerate()
    with use:
        with use:
            assert accelerated()
        assert accelerated()
    assert not accelerated()
    with use:
        assert accelerated()
    assert tables() == PLAIN


def test_a_block_ends_with_an_error_too():
    with pytest.raises(ZeroDivisionError), accelerate():
        raise ZeroDivisionError
    assert tables() == PLAIN


def test_decorators():
    @accelerate
    def plain(x):
        """The docstring."""
        return accelerated(), x

    @accelerate()
    def called(x, *, y):
        return plain(x), accelerated(), y

    assert not accelerated()
    assert plain(3) == (True, 3)
    assert plain.__doc__ == "The docstring."
    assert called(1, y=2) == ((True, 1), True, 2)
    assert not accelerated()
    assert tables() == PLAIN

    @accelerate
    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert tables() == PLAIN


def test_what_cannot_be_decorated():
    def generator():
        yield

    async def coroutine():
        pass

    class Model:
        pass

    for wrong in (generator, coroutine, Model, 3, LSTM.weight_ih_l0):
        with pytest.raises(TypeError, match="accelerate: expected a function"):
            accelerate(wrong)
        with pytest.raises(TypeError, match="accelerate: expected a function"):
            accelerate()(wrong)
    with pytest.raises(TypeError, match="verbose: expected True or False, got 1"):
        accelerate(verbose=1)
    assert tables() == PLAIN


def test_counts_by_operator_and_reason():
    with accelerate():
        for _ in range(3):
            LSTM(X)
        CELL(X[0])
        LSTM(torch.nn.utils.rnn.pack_sequence([X[:, 0], X[:2, 1]]))
        with torch.autocast("cpu"):
            CELL(X[0])
            CELL(X[0])
        torch.func.grad(lambda x: LSTM(x)[0].sum())(X)
    calls = accelerated_calls()
    assert calls.engine == {"lstm.input": 3, "lstm_cell": 1, "lstm.data": 1}
    assert calls.pytorch == {
        "lstm_cell": {"autocast": 2},
        "lstm.input": {"a transform of torch.func": 1},
    }
    calls.engine.clear()  # a copy
    with accelerate():  # starts anew
        assert accelerated_calls() == ({}, {})
        CELL(X[0])
        with accelerate():  # goes on
            CELL(X[0])
        assert accelerated_calls().engine == {"lstm_cell": 2}


def test_log(caplog):
    """Each kind of call is logged once, in a program that has handlers and in one that has none."""
    with caplog.at_level(logging.DEBUG), accelerate():
        LSTM(X)
    assert caplog.messages == []
    with accelerate(verbose=True):
        for _ in range(2):
            LSTM(X)
            with torch.autocast("cpu"):
                CELL(X[0])
        LSTM(X[:1])
    LSTM(X)
    assert caplog.messages == [
        "aten::lstm.input of (5, 2, 3) torch.float32: lstmcore",
        "aten::lstm_cell of (2, 3) torch.float32: PyTorch (autocast)",
        "aten::lstm.input of (1, 2, 3) torch.float32: lstmcore",
    ]
    assert logging.getLogger("lstmcore.torch").level == logging.NOTSET


def test_log_without_handlers(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("lstmcore.torch"), "propagate", False)
    with accelerate(verbose=True), accelerate(verbose=True):
        LSTM(X)
    assert capsys.readouterr().err == "aten::lstm.input of (5, 2, 3) torch.float32: lstmcore\n"
    assert logging.getLogger("lstmcore.torch").handlers == []


def test_threads_call_while_others_begin_and_end():
    """Whichever kernel a call gets, its results are right, and nothing crashes."""
    expected = [LSTM(X)[0], *CELL(X[0])]
    finished = threading.Event()
    failures = []

    def call():
        try:
            while not finished.is_set():
                for mine, other in zip([LSTM(X)[0], *CELL(X[0])], expected, strict=True):
                    torch.testing.assert_close(mine, other)
                loss = LSTM(X)[0].sum()
                torch.autograd.grad(loss, list(LSTM.parameters()))
        except BaseException as error:
            failures.append(error)

    def switch():
        try:
            for _ in range(30):
                with accelerate():
                    LSTM(X)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(2)]
    switchers = [threading.Thread(target=switch) for _ in range(2)]
    for thread in callers + switchers:
        thread.start()
    for thread in switchers:
        thread.join()
    finished.set()
    for thread in callers:
        thread.join()
    assert failures == []
    assert tables() == PLAIN


def test_removed_kernels_outlive_calls_that_are_about_to_begin():
    """The dispatcher holds no reference for a thread that has looked a kernel up."""
    if not hasattr(torch.library, "get_kernel"):
        pytest.skip("this PyTorch cannot hold a kernel")
    removed = lt.acceleration._switch._removed
    removed.clear()
    with accelerate():
        pass
    assert len(removed) == 6
    assert len(set(map(id, removed))) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_processes_share_it():
    expected = LSTM(X)[0]
    with accelerate():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                right = torch.allclose(LSTM(X)[0], expected, atol=1e-6)
                status = 0 if right and accelerated() else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0


def test_calls_take_as_many_threads_as_torch_has():
    """Which workers of a loader set to one; lstmcore's own number is as before at the end."""
    before = torch.get_num_threads()
    lc.set_num_threads(3)
    try:
        with accelerate():
            for count in (1, 2):
                torch.set_num_threads(count)
                LSTM(X)
                assert lc.get_num_threads() == count
        assert lc.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

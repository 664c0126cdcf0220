"""Signals wait until a step is complete."""

import os
import signal
import threading

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _signals, layers, optimizers
from lstmcore._signals import signals_deferred

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture(autouse=True)
def default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_for_the_end_of_the_block():
    done = []

    def run():
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_learn_where_the_signal_arrived():
    """Those that print a stack do, and debuggers."""
    frames = []
    signal.signal(signal.SIGINT, lambda number, frame: frames.append((number, frame)))

    def interrupted():
        signal.raise_signal(signal.SIGINT)

    with signals_deferred():
        interrupted()
    [(number, frame)] = frames
    assert number == signal.SIGINT
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert names[:2] == ["interrupted", "test_handlers_learn_where_the_signal_arrived"]


# Names, since Windows lacks some. pytest enables faulthandler, whose handlers Python does not know
# and could not set again.
OF_FAULTHANDLER = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")
EXCEPT = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP", *OF_FAULTHANDLER)}
CATCHABLE = sorted(
    int(number)
    for number in signal.valid_signals()
    if number not in EXCEPT and signal.getsignal(number) is not None
)


@pytest.mark.parametrize("number", CATCHABLE)
def test_every_signal_that_can_be_handled_waits(number):
    """Batch systems warn with SIGUSR1, profilers ask with SIGPROF, and who knows with what else."""
    done = []

    def handler(number, frame):
        raise KeyError(number)

    def run():
        with signals_deferred():
            signal.raise_signal(number)
            done.append(1)
        done.append(2)

    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyError):
            run()
        assert done == [1]
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_blocks_nest():
    done = []

    def run():
        with signals_deferred():
            with signals_deferred():
                signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == [1]


def test_errors_of_the_block_pass_and_handlers_come_back():
    with pytest.raises(ValueError, match="mine"), signals_deferred():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals_deferred():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_handler_that_raises_on_the_way_in_leaves_all_handlers():
    def handler(number, frame):
        raise KeyError(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        real = _signals._signal.signal

        def send_first(number, new):
            if number == signal.SIGTERM and getattr(new, "__name__", "") == "_note":
                os.kill(os.getpid(), signal.SIGTERM)
            return real(number, new)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_signals._signal, "signal", send_first)
            with pytest.raises(KeyError), signals_deferred():
                pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def raising():
    """Let SIGINT, SIGTERM and SIGALRM raise KeyError, and list those that did."""
    called = []

    def handler(number, frame):
        called.append(number)
        raise KeyError(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, handler) for number in numbers}
    yield called, lambda: all(signal.getsignal(number) is handler for number in numbers)
    for number, old in before.items():
        signal.signal(number, old)


def test_a_handler_that_raises_on_the_way_out_leaves_all_handlers(raising):
    """A signal whose handler is set again raises before that of the next one is."""
    called, are_set = raising
    real = _signals._signal.signal

    def send_between(number, new):
        if number == signal.SIGTERM and getattr(new, "__name__", "") == "handler" and not called:
            os.kill(os.getpid(), signal.SIGINT)
        return real(number, new)

    def run():
        with pytest.MonkeyPatch.context() as patch, signals_deferred():
            signal.raise_signal(signal.SIGALRM)
            patch.setattr(_signals._signal, "signal", send_between)

    with pytest.raises(KeyError):
        run()
    assert called == [signal.SIGINT, signal.SIGALRM]
    assert are_set()


def test_all_signals_are_delivered_though_the_first_raises(raising):
    called, are_set = raising

    def run():
        with signals_deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyError) as caught:
        run()
    assert called == [signal.SIGTERM, signal.SIGINT]
    assert caught.value.__context__.args == (signal.SIGTERM,)
    assert are_set()


def test_other_threads_are_not_touched():
    seen = []

    def run():
        with signals_deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_ctrl_c_does_not_divide_a_step(monkeypatch):
    """It arrives when the weights have changed and the step is not counted yet."""

    def trained(interrupt):
        model = lc.Sequential([layers.Input((None, 2)), layers.LSTM(3)], seed=1)
        model.compile("adam", "mse")
        own = optimizers.Adam._step

        def step(self, *arguments):
            own(self, *arguments)
            if interrupt and self.iterations == 2:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(optimizers.Adam, "_step", step)
        x = np.ones((4, 3, 2), np.float32)
        try:
            model.fit(x, np.ones((4, 3)), epochs=5 if interrupt else 3, verbose=0)
        except KeyboardInterrupt:
            assert interrupt
        monkeypatch.undo()
        return model

    whole, stopped = trained(False), trained(True)
    assert stopped.optimizer.iterations == 3
    np.testing.assert_array_equal(stopped.parameters.values, whole.parameters.values)

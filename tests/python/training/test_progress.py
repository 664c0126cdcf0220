"""The progress that `fit`, `evaluate` and `predict` show in terminals, notebooks and logs."""

import io
import os
import re
import sys
import types

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _notebook, callbacks, layers
from lstmcore.training import loop, progress
from lstmcore.training.history import History


class Terminal(io.StringIO):
    """Records what is written, and computes what a screen would show."""

    def isatty(self):
        return True

    def screen(self):
        """Return the lines that remain after carriage returns and cursor moves."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", self.getvalue()):
            if part == "\x1b[A":
                row -= 1
            elif part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
            else:
                while len(lines) <= row:
                    lines.append("")
                old = lines[row].ljust(column)
                lines[row] = old[:column] + part + old[column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines if line.strip()]


def on_terminal(monkeypatch):
    """Replace both streams with one terminal, with a bar that is drawn at every step.

    This is not a fixture, since pytest replaces the streams after a test's fixtures have run.
    """
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    return screen


@pytest.fixture
def data(rng):
    x = rng.uniform(-1, 1, (12, 3, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


def model(rate=0.01):
    built = lc.Sequential([layers.LSTM(2), layers.Dense(1)])
    built.compile(lc.optimizers.SGD(rate), "mse", ["mae"])
    return built


FIGURES = r" - loss: [\d.]+ - mae: [\d.]+"
TIME = r" - \d+\.\d s"
DONE = r"Trained 2 epochs in \d+\.\d s; best loss [\d.]+ at epoch [12]"


def matches(lines, patterns):
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize("verbose", ["auto", 1, 2, True])
def test_a_log_gets_a_line_for_each_epoch_and_one_for_all(verbose, data, capfd):
    model().fit(*data, epochs=2, batch_size=4, verbose=verbose)
    captured = capfd.readouterr()
    assert captured.err == ""
    matches(
        captured.out.splitlines(),
        [rf"Epoch 1/2{FIGURES}{TIME}", rf"Epoch 2/2{FIGURES}{TIME}", DONE],
    )


@pytest.mark.parametrize("verbose", [0, False])
def test_verbose_0_writes_nothing(verbose, data, capfd):
    built = model()
    built.fit(*data, epochs=2, verbose=verbose)
    built.evaluate(*data, verbose=verbose)
    built.predict(data[0], verbose=verbose)
    assert capfd.readouterr() == ("", "")


def test_evaluate_and_predict_are_quiet_in_a_log_unless_asked(data, capfd):
    built = model()
    built.evaluate(*data)
    built.predict(data[0])
    assert capfd.readouterr() == ("", "")
    loss, mae = built.evaluate(*data, verbose=2)
    built.predict(data[0], verbose=1)
    captured = capfd.readouterr()
    assert captured.err == ""
    first, second = captured.out.splitlines()
    assert re.fullmatch(rf"Evaluate - loss: {loss:.4g} - mae: {mae:.4g}{TIME}", first)
    assert re.fullmatch(rf"Predict{TIME}", second)


@pytest.mark.parametrize("verbose", [3, -1, "bar", None])
@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
def test_other_numbers_are_refused(name, verbose, data):
    given = data if name != "predict" else data[:1]
    with pytest.raises(ValueError, match=r"verbose: expected 0, 1, 2 or 'auto', got"):
        getattr(model(), name)(*given, verbose=verbose)


# ---- a terminal ----------------------------------------------------------------------------------


def test_a_terminal_shows_a_bar_that_moves_and_disappears(data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    model().fit(*data, epochs=2, batch_size=4)
    shown = terminal.getvalue()
    for epoch in (1, 2):
        for batch in (1, 2, 3):
            assert re.search(
                rf"Epoch {epoch}/2: +\d+%[^\r]* {batch}/3 [^\r]*loss=[\d.]+, mae=[\d.]+", shown
            )
    # Only the final lines remain.
    matches(terminal.screen(), [rf"Epoch 1/2{FIGURES}{TIME}", rf"Epoch 2/2{FIGURES}{TIME}", DONE])


def test_lines_go_to_a_file_while_the_terminal_shows_the_bar(data, monkeypatch):
    screen, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setattr(sys, "stderr", screen)
    model().fit(*data, epochs=2)
    assert "Epoch 1/2:   0%" in screen.getvalue()
    assert screen.screen() == []
    matches(
        file.getvalue().splitlines(),
        [rf"Epoch 1/2{FIGURES}{TIME}", rf"Epoch 2/2{FIGURES}{TIME}", DONE],
    )
    assert sys.stdout is file
    assert sys.stderr is screen


@pytest.mark.parametrize("interval", [0.0, 1e9], ids=["drawn always", "drawn never"])
def test_output_of_callbacks_stays_above_the_bar(interval, data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL", interval)

    class Talker(callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            print("half", end="")
            print(f" of batch {batch}")
            print("to stderr", file=sys.stderr)

        def on_epoch_end(self, epoch, logs):
            print("two\nlines")
            print("no end of a line", end="")

    model().fit(*data, batch_size=4, callbacks=[Talker()])
    matches(
        terminal.screen(),
        [
            *[text for n in range(3) for text in (f"half of batch {n}", "to stderr")],
            "two",
            "lines",
            rf"no end of a lineEpoch 1/1{FIGURES}{TIME}",
            r"Trained 1 epoch in .*",
        ],
    )


def test_a_bar_within_a_bar(data, monkeypatch):
    """A callback that predicts shows its own bar, and both disappear in the end."""

    terminal = on_terminal(monkeypatch)

    class Predicts(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.predict(data[0], batch_size=4)
            print("predicted")

    model().fit(*data, batch_size=4, callbacks=[Predicts()])
    assert re.search(r"Predict: +\d+%[^\r]* 3/3 ", terminal.getvalue())
    matches(
        terminal.screen(), ["predicted", rf"Epoch 1/1{FIGURES}{TIME}", r"Trained 1 epoch in .*"]
    )


def test_a_bar_is_not_drawn_at_every_step(monkeypatch):
    """The engine takes less than a millisecond for a small batch; drawing takes a tenth of that."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = progress.Bar(1000, "Epoch 1/1")
    drawn = []
    monkeypatch.setattr(bar._bar, "refresh", lambda: drawn.append(bar._bar.n))
    for _ in range(1000):
        clock[0] += 1e-3
        bar.advance({"loss": 1.0})
    bar.close()
    assert drawn == pytest.approx([*range(100, 1000, 100), 1000, 1000], abs=10)


def test_the_streams_come_back_after_an_error(data, monkeypatch):
    terminal = on_terminal(monkeypatch)

    class Fails(callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        model().fit(*data, batch_size=4, callbacks=[Fails()])
    assert sys.stdout is terminal
    assert sys.stderr is terminal
    assert terminal.screen() == []  # no epoch ended, so nothing is shown


def test_a_stream_that_was_replaced_meanwhile_stays(data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    other = io.StringIO()

    class Replaces(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            monkeypatch.setattr(sys, "stdout", other)

    model().fit(*data, callbacks=[Replaces()])
    assert sys.stdout is other
    assert sys.stderr is terminal


def test_evaluate_and_predict_show_a_bar_in_a_terminal(data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    built = model()
    built.evaluate(*data, batch_size=4)
    built.predict(data[0], batch_size=4)
    assert re.search(r"Evaluate: 100%[^\r]* 3/3 ", terminal.getvalue())
    assert re.search(r"Predict: 100%[^\r]* 3/3 ", terminal.getvalue())
    assert terminal.screen() == []
    loss, mae = built.evaluate(*data, batch_size=4, verbose=1)
    matches(terminal.screen(), [rf"Evaluate - loss: {loss:.4g} - mae: {mae:.4g}{TIME}"])


def test_a_quick_prediction_shows_no_bar(data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    clock = [0.0]
    monkeypatch.setattr(progress, "PATIENCE", 0.5)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    for step, shown in ((0.01, False), (0.25, True)):
        for batch in progress.with_bar(range(4), 4, "Predict", "auto"):
            assert ("Predict" in terminal.getvalue()) == (shown and batch >= 2)
            clock[0] += step
    assert re.search(r"Predict: +50%[^\r]* 2/4 ", terminal.getvalue())
    assert terminal.screen() == []


def test_a_bar_without_a_known_end(monkeypatch):
    """The number of batches of a generator is not known in advance."""
    terminal = on_terminal(monkeypatch)
    assert list(progress.with_bar(iter(range(3)), None, "Predict", "auto")) == [0, 1, 2]
    assert "\rPredict: 2 [00:00]\r" in terminal.getvalue()
    bar = progress.Bar(None, "Epoch 1/2")
    bar.advance({"loss": 0.5})
    assert terminal.getvalue().endswith("\rEpoch 1/2: 1 [00:00, loss=0.5]")
    bar.restart(4, "Epoch 2/2")  # the number is known now
    bar.advance({"loss": 0.25})
    assert re.search(r"\rEpoch 2/2:  25%\|.*\| 1/4 \[00:00<.*, loss=0\.25\]$", terminal.getvalue())
    bar.close()


def test_decode_shows_a_bar_too(monkeypatch):
    terminal = on_terminal(monkeypatch)
    built = lc.EncoderDecoder(9, 8, units=4, embedding_size=3)
    built.decode([[3, 4], [5]], batch_size=1, max_length=2, verbose="auto")
    assert re.search(r"Decode: 100%[^\r]* 2/2 ", terminal.getvalue())


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs the terminals of Unix")
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (24, 50)])
def test_a_terminal_of_the_system(rows, columns, monkeypatch):
    """Even one that reports no size, in which tqdm by default shows nothing."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        bar = progress.Bar(3, "Epoch 1/1")
        bar.close()
        monkeypatch.undo()
        shown = os.read(ours, 10_000).decode()
    os.close(ours)
    first = shown.split("\r")[1]
    assert first.startswith("Epoch 1/1:   0%|")
    assert len(first) <= (columns or 80)


def test_verbose_2_shows_no_bar(data, monkeypatch):
    terminal = on_terminal(monkeypatch)
    model().fit(*data, verbose=2)
    assert "%" not in terminal.getvalue()
    assert len(terminal.screen()) == 2


def test_a_program_without_streams_trains(data, monkeypatch):
    """Like pythonw.exe, whose standard streams are None."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert model().fit(*data, epochs=2).epoch == [0, 1]


# ---- a notebook ----------------------------------------------------------------------------------


def as_kernel(monkeypatch, kind):
    shell = types.SimpleNamespace(config={kind: {}})
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def test_a_notebook_is_distinguished_from_a_terminal(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not _notebook.in_notebook()
    as_kernel(monkeypatch, "TerminalIPythonApp")
    assert not _notebook.in_notebook()
    assert not progress.can_move()
    as_kernel(monkeypatch, "IPKernelApp")
    assert _notebook.in_notebook()
    assert progress.can_move()
    shell = types.SimpleNamespace(get_ipython=lambda: None)  # imported, but not running
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert not _notebook.in_notebook()


# ---- the last line -------------------------------------------------------------------------------


def last_line(capsys):
    return capsys.readouterr().out.splitlines()[-1]


class Script(callbacks.Callback):
    """Puts the given losses into the logs."""

    def __init__(self, losses, name="val_loss"):
        self.losses, self.name = losses, name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.losses[epoch]


def test_the_last_line_names_the_best_epoch_and_early_stopping(data, capsys):
    early = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    history = model().fit(*data, epochs=9, callbacks=[Script([3.0, 1.25, 2.0, 1.5, 0.1]), early])
    reason = "val_loss did not improve for 2 epochs"
    assert (history.stop_reason, history.restored_epoch) == (reason, 1)
    assert re.fullmatch(
        rf"Trained 4 of 9 epochs in \d\.\d s; best val_loss 1\.25 at epoch 2; stopped: {reason}; "
        "weights of epoch 2 restored",
        last_line(capsys),
    )
    early = callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    model().fit(*data, epochs=3, callbacks=[Script([3.0, 1.0, 2.0]), early])
    assert last_line(capsys).endswith("at epoch 2; weights of epoch 2 restored")
    history = model().fit(*data, epochs=3, callbacks=[Script([3.0, 1.0, 2.0])], verbose=0)
    assert history.restored_epoch is None


def test_the_last_line_of_other_ends(data, capsys):
    class Stopper(callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.stop_training = True

    class Early(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.stop_training = True

    names = {"Stopper": Stopper(), "Early": Early()}
    for name, stopper in names.items():
        others = [callbacks.Callback(), stopper, callbacks.Callback()]
        history = model().fit(*data, epochs=3, callbacks=others)
        assert history.stop_reason == f"{name} requested it"
        assert last_line(capsys).endswith(f"; stopped: {name} requested it")
    patient = callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    history = model().fit(*data, epochs=3, callbacks=[patient])
    assert history.stop_reason == "loss did not improve for 1 epoch"


def test_a_resumed_training_counts_its_own_epochs(data, capsys):
    built = model()
    built.fit(*data, epochs=2, verbose=0)
    built.fit(*data, epochs=5, initial_epoch=2)
    assert re.match(r"Trained 3 epochs in .*; best loss [\d.]+ at epoch [345]", last_line(capsys))


def test_an_interruption_is_reported(data, capsys):
    class Interrupts(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().fit(*data, epochs=5, callbacks=[Interrupts()])
    assert re.fullmatch(
        r"Trained 2 of 5 epochs in .*; best loss .* at epoch \d; interrupted", last_line(capsys)
    )


@pytest.mark.parametrize(
    ("moment", "ended"),
    [
        ("on_epoch_begin", 2),
        ("on_train_batch_end", 2),
        ("validation", 2),
        ("on_epoch_end", 3),  # trained and validated: only a callback was interrupted
    ],
)
def test_after_an_interruption_epochs_agree_and_the_line_names_restored_weights(
    data, capsys, monkeypatch, moment, ended
):
    class Interrupts(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
            self.strike("on_epoch_begin")

        def on_train_batch_end(self, batch, logs):
            self.strike("on_train_batch_end")

        def on_epoch_end(self, epoch, logs):
            self.strike("on_epoch_end")

        def strike(self, now):
            if self.epoch == 2 and now == moment:
                raise KeyboardInterrupt

    interrupts = Interrupts()
    evaluate = loop.evaluate

    def interrupted(*arguments):
        interrupts.strike("validation")
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    early = callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    built = model()
    weights = []
    recorder = callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(built.get_weights()))
    listed = [Script([1.0, 2.0, 3.0]), recorder, early, interrupts]
    with pytest.raises(KeyboardInterrupt):
        built.fit(*data, epochs=9, callbacks=listed, validation_data=data)
    assert built.epoch == len(built.history.epoch) == ended
    assert built.history.epoch == list(range(ended))
    assert built.history.restored_epoch == 0
    for restored, best in zip(built.get_weights(), weights[0], strict=True):
        np.testing.assert_array_equal(restored, best)
    assert re.fullmatch(
        rf"Trained {ended} of 9 epochs in .*; best val_loss 1 at epoch 1; interrupted; "
        "weights of epoch 1 restored",
        last_line(capsys),
    )


def test_the_line_names_restored_weights_if_a_resumed_training_is_interrupted_at_once(data, capsys):
    def early():
        return callbacks.EarlyStopping(patience=5, restore_best_weights=True)

    def stop(*_):
        raise KeyboardInterrupt

    built = model()
    built.fit(*data, epochs=2, callbacks=[Script([1.0, 2.0]), early()], verbose=0)
    listed = [Script([]), early(), callbacks.LambdaCallback(on_train_batch_end=stop)]
    with pytest.raises(KeyboardInterrupt):
        built.fit(*data, epochs=4, initial_epoch=2, callbacks=listed)
    assert re.fullmatch(
        r"Trained 0 of 2 epochs in .* s; interrupted; weights of epoch 1 restored",
        last_line(capsys),
    )


def test_a_training_without_a_finite_loss_has_no_best_epoch(data, capsys):
    built = model()
    history = built.fit(*data, callbacks=[Script([float("nan")], "loss")])
    assert history.best is None
    assert re.fullmatch(r"Trained 1 epoch in \d\.\d s", last_line(capsys))


def test_a_history_forgets_why_an_earlier_training_ended(data):
    own = History()
    early = callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    model().fit(*data, epochs=3, callbacks=[own, early], verbose=0)
    assert own.stop_reason is not None
    model().fit(*data, callbacks=[own], verbose=0)
    assert own.stop_reason is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.8, "1 h 00 min"),
        (7300, "2 h 01 min"),
    ],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text

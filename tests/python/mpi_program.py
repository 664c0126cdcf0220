"""What `neighbours/test_mpi.py` starts by MPI's launcher.

``python mpi_program.py COMMAND FOLDER [NUMBER]``: every process writes what it found, or its error,
to FOLDER/RANK.json.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
import time
import traceback
from hashlib import blake2b
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore.distributed import gradients

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 8  # batches are small here
TIMEOUT = 20.0
ENDING = 1.0  # where processes end at different times


def data():
    random = np.random.default_rng(0)
    x = [random.integers(1, 50, random.integers(1, 15)) for _ in range(60)]
    return x, np.array([int(row.sum()) % 2 for row in x])


def tagger(seed=0):
    """Ragged texts, an embedding, dropout."""
    model = lc.Sequential(
        [
            lc.layers.Embedding(50, 8),
            lc.layers.Dropout(0.2),
            lc.layers.LSTM(8, dropout=0.1),
            lc.layers.Dense(1, "sigmoid"),
        ],
        seed=seed,
    )
    model.compile(lc.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy", "auc"])
    return model


def bits(model):
    return blake2b(model.parameters.values).hexdigest()


def demo(distributed, folder, number):
    """Train the demo for `number` epochs."""
    path = ROOT / "examples" / "python" / "train_sentiment.py"
    spec = importlib.util.spec_from_file_location("train_sentiment", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    train, validation, _ = lc.datasets.movie_snippets(0)
    model = program.build_model(train.sentences, 0)
    steps = -(-len(train.sentences) // program.BATCH_SIZE) * 5
    rate = lc.schedules.CosineDecay(3e-3, decay_steps=steps)
    model.compile(lc.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(
        train.sentences,
        program.praise(train),
        validation_data=(validation.sentences, validation.labels),
        epochs=number,
        batch_size=program.BATCH_SIZE,
        callbacks=lc.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        verbose=0,
        distributed=distributed,
    )
    return {"bits": bits(model), "history": history.history}


class Batches:
    """Batches in the last of which, in epoch 3, a process sends a signal to itself."""

    def __init__(self, action=None):
        self.action, self.epochs = action, 0

    def __len__(self):
        return 5

    def __getitem__(self, number):
        if number == 0:
            self.epochs += 1
        if number == 4 and self.epochs == 3 and self.action is not None:
            os.kill(os.getpid(), self.action)
        x, y = data()
        return x[number * 12 : number * 12 + 12], y[number * 12 : number * 12 + 12]


class Signalled(lc.callbacks.Callback):
    """Sends a signal to its own process, rank 0, at the end of epoch 3."""

    def on_epoch_end(self, epoch, logs):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)  # never, since the signal becomes an error


def train(distributed, folder, number, action=None, callbacks=()):
    """Train six epochs with checkpoints, from epoch `number` on."""
    path = folder / "{epoch}.safetensors"
    model = lc.load(str(path).format(epoch=number)) if number else tagger()
    model.fit(
        Batches(action),
        epochs=6,
        initial_epoch=model.epoch,
        verbose=2,
        callbacks=[*callbacks, lc.callbacks.ModelCheckpoint(path)],
        distributed=distributed,
    )
    return {"bits": bits(model)}


def signalled(distributed, folder, rank, action):
    """Train; `rank` sends `action` to itself."""
    return train(distributed, folder, 0, action if distributed.rank == rank else None)


def killed(distributed, folder, rank):
    return signalled(distributed, folder, rank, signal.SIGKILL)


def terminated(distributed, folder, rank):
    return signalled(distributed, folder, rank, signal.SIGTERM)


def interrupted(distributed, folder, rank):
    return signalled(distributed, folder, rank, signal.SIGINT)


def stopped(distributed, folder, rank):
    return signalled(distributed, folder, rank, signal.SIGSTOP)


def terminated_in_a_callback(distributed, folder, number):
    return train(distributed, folder, 0, callbacks=[Signalled()])


def rows(distributed, folder, number):
    """Train a large embedding, whose gradients are sent as rows; count the exchanges of rows."""
    seen = []
    before = gradients._finish_rows

    def counted(root, every):
        seen.append(root)
        return before(root, every)

    gradients._finish_rows = counted
    random = np.random.default_rng(1)
    x = [random.integers(1, 5000, random.integers(1, 9)) for _ in range(40)]
    model = lc.Sequential(
        [lc.layers.Embedding(5000, 64), lc.layers.LSTM(4), lc.layers.Dense(1, "sigmoid")], seed=2
    )
    model.compile(lc.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(x, [len(row) % 2 for row in x], 10, 2, 0, distributed=distributed)
    own = getattr(distributed, "size", 1)
    assert bool(seen) == (own > 1)
    return {"bits": bits(model)}


def early(distributed, folder, number):
    """Fail in one process before `fit`."""
    if distributed.rank == 1:
        raise OSError("no such file on this machine")
    return train(distributed, folder, 0)


def differ(distributed, folder, number):
    """Train models whose weights differ."""
    model = tagger(seed=distributed.rank)
    model.fit(*data(), verbose=0, distributed=distributed)


def recover(distributed, folder, number):
    """Refuse a step in all processes, then train; and use the threads of a share."""
    model, spoilt, (x, y) = tagger(), tagger(), data()
    spoilt.build((None, None))
    spoilt.parameters.values[:] = np.inf
    spoilt.parameters.touch()
    before = lc.get_num_threads()
    seen = []
    try:
        spoilt.fit(
            x,
            y,
            verbose=0,
            callbacks=lc.callbacks.LambdaCallback(
                on_epoch_begin=lambda *_: seen.append(lc.get_num_threads())
            ),
            distributed=distributed,
        )
    except FloatingPointError as error:
        refused = str(error)
    assert lc.get_num_threads() == before
    model.fit(x, y, verbose=0, distributed=distributed)
    return {"refused": refused, "bits": bits(model), "threads": seen}


def go_on(distributed, folder, number):
    """Refuse an argument in all processes, then train; rank 0 works on when the others end."""
    model = tagger()
    try:
        model.fit(*data(), epochs=0, verbose=0, distributed=distributed)
    except ValueError as error:
        refused = str(error)
    model.fit(*data(), verbose=0, distributed=distributed)
    if distributed.rank == 0:
        time.sleep(2 * ENDING)
    return {"refused": refused, "bits": bits(model)}


def together(distributed, folder, number):
    """Train in groups of two; in the first of them a process fails while the others train."""
    whole = distributed._comm
    pair = lc.distributed.MPI(SHARDS, timeout=ENDING, comm=whole.Split(whole.Get_rank() // 2))

    def batches():
        for place in range(4):
            if whole.Get_rank() == 1 and place == 1:
                raise OSError("no such file on this machine")
            time.sleep(0.5 * (whole.Get_rank() > 1))
            yield data()

    model = tagger()
    model.fit(batches(), verbose=0, distributed=pair)
    return {"bits": bits(model)}


def early_ctrl_c(distributed, folder, number):
    """Rank 0 is interrupted while it waits for the others to call `fit`."""
    if distributed.rank:
        time.sleep(2)
    else:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    return train(distributed, folder, 0)


def main(command, folder, number="0"):
    folder = Path(folder)
    ends = (killed, terminated, interrupted, stopped, terminated_in_a_callback)
    commands = (demo, train, *ends, rows, early, differ, recover, go_on, together, early_ctrl_c)
    chosen = {function.__name__: function for function in commands}[command]
    rank = 0
    try:
        if os.environ.get("MPI_PROGRAM_ALONE"):
            distributed = lc.distributed.OneProcess(SHARDS)
        else:
            limit = {"stopped": 3.0, "go_on": ENDING}.get(command, TIMEOUT)
            distributed = lc.distributed.MPI(SHARDS, timeout=limit)
            rank = distributed.rank
        found = chosen(distributed, folder, int(number))
        found["size"] = getattr(distributed, "size", 1)
    except BaseException as error:
        text = "".join(traceback.format_exception_only(error))
        (folder / f"{rank}.json").write_text(json.dumps({"error": text}))
        raise
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

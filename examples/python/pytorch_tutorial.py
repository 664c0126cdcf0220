"""Train the LSTM of PyTorch's tutorials, and a copy with one line changed.

Embedding, LSTM, a linear layer on the last step, cross-entropy and Adam, on film-review sentences.
Two copies of the model begin with the same weights and take their training steps in turn; one of
them was passed to ``lstmcore.torch.replace_lstm``. The program ends with status 1 if the losses of
the first ten steps differ by more than 1e-5. Times are the median of all whole training steps.
"""

import argparse
import collections
import copy
import re
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch

import lstmcore as lc
from lstmcore.torch import replace_lstm

CHECKED = 10  # steps whose losses must agree
TOLERANCE = 1e-5


class Classifier(torch.nn.Module):  # type: ignore[misc]
    """Classifies sentences by the LSTM's output at the last step."""

    def __init__(self, words: int, features: int = 64, units: int = 128, classes: int = 2) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, features)
        self.lstm = torch.nn.LSTM(features, units, batch_first=True)
        self.linear = torch.nn.Linear(units, classes)

    def forward(self, ids: Any) -> Any:
        """Map word numbers (N, T) to scores (N, classes)."""
        outputs, _ = self.lstm(self.embedding(ids))
        return self.linear(outputs[:, -1])


def numbered(sentences: list[str], steps: int, words: int) -> Any:
    """Return word numbers (N, steps), at the end of each row; rare words are 0."""
    rows = [re.findall(r"[a-z']+", sentence.lower())[-steps:] for sentence in sentences]
    counts = collections.Counter(word for row in rows for word in row)
    numbers = {word: 1 + i for i, (word, _) in enumerate(counts.most_common(words - 1))}
    ids = np.zeros((len(rows), steps), np.int64)
    for row, found in zip(ids, rows, strict=True):
        row[steps - len(found) :] = [numbers.get(word, 0) for word in found]
    return torch.from_numpy(ids)


def training_step(model: Any, optimizer: Any, ids: Any, labels: Any) -> float:
    """Take a training step in the usual five lines; return the loss."""
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(ids), labels)
    loss.backward()
    optimizer.step()
    return float(loss.item())


def main() -> None:
    """Train both in turn, then compare losses and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="training steps, at least 10")
    parser.add_argument("--batch", type=int, default=32, help="sentences in a batch")
    parser.add_argument("--length", type=int, default=60, help="words of a sentence")
    parser.add_argument("--words", type=int, default=5000, help="words in the vocabulary")
    parser.add_argument("--threads", type=int, help="for both; by default each uses its own number")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        lc.set_num_threads(options.threads)

    data = lc.datasets.movie_snippets(options.seed).train
    ids = numbered(data.sentences, options.length, options.words)
    labels = torch.from_numpy(data.labels)
    torch.manual_seed(options.seed)
    model = Classifier(options.words)
    models = {"torch.nn.LSTM": model, "lstmcore.torch.LSTM": copy.deepcopy(model)}
    replace_lstm(models["lstmcore.torch.LSTM"])  # the line that is changed
    optimizers = {
        name: torch.optim.Adam(each.parameters(), lr=0.001) for name, each in models.items()
    }

    seconds: dict[str, list[float]] = {name: [] for name in models}
    difference = 0.0
    for step in range(max(options.steps, CHECKED)):
        rows = torch.randint(0, len(labels), (options.batch,))
        losses = []
        for name, each in models.items():
            start = time.perf_counter()
            losses.append(training_step(each, optimizers[name], ids[rows], labels[rows]))
            seconds[name].append(time.perf_counter() - start)
        if step < CHECKED:
            difference = max(difference, abs(losses[0] - losses[1]))
            print(f"step {step + 1:2d}  loss {losses[0]:.7f}  {losses[1]:.7f}", flush=True)

    print(f"largest difference of the first {CHECKED} losses: {difference:.1e}")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:20s} {1000 * median:7.2f} ms per training step")
    ratio = medians["torch.nn.LSTM"] / medians["lstmcore.torch.LSTM"]
    print(f"{ratio:.2f} times as fast")
    sys.exit(0 if difference <= TOLERANCE else 1)


if __name__ == "__main__":
    main()

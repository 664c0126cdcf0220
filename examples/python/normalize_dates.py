"""Teach a model to write dates in one format: "3 march 2021" becomes "2021-03-03".

The program makes its own data. It writes ``model.safetensors`` and ``attention.svg`` into
``--output``.
"""

import argparse
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.plots import attention_map

MONTHS = [date(2000, month, 1).strftime("%B").lower() for month in range(1, 13)]
DAYS = [date(2000, 5, day).strftime("%A").lower() for day in range(1, 8)]  # Monday first
EXAMPLES = ["3 march 2021", "tuesday, july 4, 1995", "28.2.1976", "sep 30 2033", "1 of may 2008"]


def write(day: date, random: np.random.Generator) -> str:
    """Return a date as a person might write it."""
    month = MONTHS[day.month - 1]
    if random.random() < 0.4:
        month = month[:3]
    forms = [
        f"{day.day} {month} {day.year}",
        f"{day.day} of {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{month} {day.day} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.month}/{day.day}/{day.year}",
        f"{DAYS[day.weekday()]}, {month} {day.day}, {day.year}",
        f"{DAYS[day.weekday()]} {day.day} {month} {day.year}",
    ]
    return forms[random.integers(len(forms))]


def make_pairs(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Return dates of the years 1950 to 2049, in many formats and in one."""
    random = np.random.default_rng(seed)
    begin, days = date(1950, 1, 1), (date(2050, 1, 1) - date(1950, 1, 1)).days
    chosen = [begin + timedelta(int(number)) for number in random.integers(days, size=count)]
    return [write(day, random) for day in chosen], [day.isoformat() for day in chosen]


def exact_share(
    model: lc.EncoderDecoder, texts: list[str], answers: list[str], beam_width: int = 1
) -> float:
    """Return the share of the texts whose answer is right in every character."""
    said = model.predict(texts, batch_size=200, verbose=0, beam_width=beam_width)
    return float(np.mean([one == other for one, other in zip(said, answers, strict=True)]))


def main() -> None:
    """Train, report, save, and show the answers and the attention of the saved model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/dates"), metavar="FOLDER")
    parser.add_argument("--attention", choices=["multiplicative", "additive"], default="additive")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=8000, help="to train on (default: 8000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    texts, answers = make_pairs(options.pairs, options.seed + 1)
    others, right = make_pairs(1000, options.seed + 2)
    model = lc.EncoderDecoder(
        source=TextVectorization(standardize=None, split="character"),
        target=TextVectorization(standardize=None, split="character"),
        embedding_size=24,
        units=64,
        bidirectional=True,
        attention=options.attention,
        seed=options.seed,
    )
    model.compile(lc.optimizers.Adam(4e-3, global_clipnorm=1.0), metrics=["accuracy"])
    begin = time.perf_counter()
    model.fit(
        texts,
        answers,
        epochs=options.epochs,
        batch_size=64,
        validation_data=(others, right),
    )
    print(f"\ntrained in {time.perf_counter() - begin:.1f} s")
    print("exactly right of 1000 dates that it was not trained on")
    print(f"  greedy      {exact_share(model, others, right):.3f}")
    print(f"  beam of 4   {exact_share(model, others, right, beam_width=4):.3f}")

    options.output.mkdir(parents=True, exist_ok=True)
    file, picture = options.output / "model.safetensors", options.output / "attention.svg"
    model.save(file)
    loaded = lc.EncoderDecoder.load(file)
    found = loaded.decode(EXAMPLES, 4, return_attention=True)
    print()
    for text, hypotheses in zip(EXAMPLES, found, strict=True):
        best = hypotheses[0]
        print(f"{text:24} {best.text}  p {np.exp(best.log_probability):.2f}")
    best = found[0][0]
    if best.attention is not None and best.text:
        attention_map(best.attention, EXAMPLES[0], best.text, picture, title=EXAMPLES[0])
    print(f"\nwrote {file} and {picture}")


if __name__ == "__main__":
    main()

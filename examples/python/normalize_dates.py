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
from lstmcore.plots import attention_map

PADDING, START, END = 0, 1, 2  # ids with a special meaning in an EncoderDecoder
FIRST = 3  # id of the first character
MONTHS = [date(2000, month, 1).strftime("%B").lower() for month in range(1, 13)]
DAYS = [date(2000, 5, day).strftime("%A").lower() for day in range(1, 8)]  # Monday first
SOURCE_CHARACTERS = " ,./0123456789abcdefghijklmnopqrstuvwxyz"
TARGET_CHARACTERS = "-0123456789"
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


def to_ids(texts: list[str], characters: str) -> list[np.ndarray]:
    """Return rows of ids, one for each character; the model adds start and end itself."""
    numbers = {character: FIRST + place for place, character in enumerate(characters)}
    return [np.array([numbers[character] for character in text]) for text in texts]


def to_text(ids: np.ndarray, characters: str) -> str:
    """Return the text of a row of ids."""
    return "".join(characters[number - FIRST] for number in ids)


def exact_share(
    model: lc.EncoderDecoder, texts: list[str], answers: list[str], **how: int
) -> float:
    """Return the share of the texts whose answer is right in every character."""
    found = model.predict(to_ids(texts, SOURCE_CHARACTERS), batch_size=200, verbose=0, **how)
    said = [to_text(ids, TARGET_CHARACTERS) for ids in found]
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
        FIRST + len(SOURCE_CHARACTERS),
        FIRST + len(TARGET_CHARACTERS),
        embedding_size=24,
        units=64,
        bidirectional=True,
        attention=options.attention,
        start=START,
        end=END,
        seed=options.seed,
    )
    model.compile(lc.optimizers.Adam(4e-3, global_clipnorm=1.0), metrics=["accuracy"])
    begin = time.perf_counter()
    model.fit(
        to_ids(texts, SOURCE_CHARACTERS),
        to_ids(answers, TARGET_CHARACTERS),
        epochs=options.epochs,
        batch_size=64,
        validation_data=(to_ids(others, SOURCE_CHARACTERS), to_ids(right, TARGET_CHARACTERS)),
    )
    print(f"\ntrained in {time.perf_counter() - begin:.1f} s")
    print("exactly right of 1000 dates that it was not trained on")
    print(f"  greedy      {exact_share(model, others, right):.3f}")
    print(f"  beam of 4   {exact_share(model, others, right, beam_width=4):.3f}")

    options.output.mkdir(parents=True, exist_ok=True)
    file, picture = options.output / "model.safetensors", options.output / "attention.svg"
    model.save(file)
    loaded = lc.EncoderDecoder.load(file)
    found = loaded.decode(to_ids(EXAMPLES, SOURCE_CHARACTERS), 4, return_attention=True)
    print()
    for text, hypotheses in zip(EXAMPLES, found, strict=True):
        best = hypotheses[0]
        said = to_text(best.tokens, TARGET_CHARACTERS)
        print(f"{text:24} {said}  p {np.exp(best.log_probability):.2f}")
    best = found[0][0]
    if best.attention is not None and len(best.tokens):
        said = to_text(best.tokens, TARGET_CHARACTERS)
        attention_map(best.attention, EXAMPLES[0], said, picture, title=EXAMPLES[0])
    print(f"\nwrote {file} and {picture}")


if __name__ == "__main__":
    main()

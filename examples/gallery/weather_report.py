"""Write the weather report of a week: seven days of numbers become a sentence.

The days are Seattle's, 2012 to 2015 (vega_datasets). Rules wrote the sentences; the model is shown
only weeks and sentences, and has to find out what they count, compare and round. It is tested on
the weeks of 2015, of which it has seen nothing.
"""

import argparse
import os
from collections import Counter
from pathlib import Path

import numpy as np
from vega_datasets import data

import lstmcore as lc
from lstmcore.layers import TextVectorization
from lstmcore.plots import attention_map

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SKIES = {"drizzle": "drizzly", "fog": "foggy", "rain": "rainy", "snow": "snowy", "sun": "sunny"}
MEASURES = {"*": ("share of words that are right", "higher")}
WISHED = {"LSTM": ">= 0.9"}
Weeks = tuple[np.ndarray, list[str]]


def sentence(numbers: np.ndarray, skies: np.ndarray, weekdays: np.ndarray) -> str:
    """Say what a week was like: numbers (7, 4) are rain, high, low and wind."""
    rain, high, _, wind = numbers.T
    counts = np.bincount(skies, minlength=len(SKIES))
    share = "all" if counts.max() == 7 else "mostly" if counts.max() >= 5 else "partly"
    words = [share, list(SKIES.values())[counts.argmax()], f"with {int((rain > 0).sum())} wet days"]
    if rain.any():
        words.append(f"and most rain on {DAYS[weekdays[rain.argmax()]]}")
    change = high[4:].mean() - high[:3].mean()
    words.append("getting warmer" if change > 2 else "getting colder" if change < -2 else "steady")
    words.append(f"up to {round(high.max() / 5) * 5} degrees")
    return " ".join([*words, "windy"] if wind.max() > 6 else words)


def weather(count: int, seed: int) -> tuple[Weeks, Weeks]:
    """Return weeks (N, 7, C) and their sentences: to learn from, and those of 2015.

    A week to learn from has days of the same season of 2012 to 2014, put together at random.
    """
    table = data.seattle_weather()
    values = table[["precipitation", "temp_max", "temp_min", "wind"]].to_numpy(float)
    skies = np.array([list(SKIES).index(name) for name in table["weather"]])
    weekdays, known = table["date"].dt.weekday.to_numpy(), int((table["date"].dt.year < 2015).sum())
    scaled = np.hstack([np.log1p(values[:, :1]), values[:, 1:]])
    scaled = (scaled - scaled[:known].mean(axis=0)) / scaled[:known].std(axis=0)

    def week(days: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, str]:
        parts = [scaled[days], np.eye(len(SKIES))[skies[days]], np.eye(7)[named]]
        return np.hstack(parts).astype(np.float32), sentence(values[days], skies[days], named)

    rng, learnt, seven = np.random.default_rng(seed), [], np.arange(7)
    for first in rng.integers(0, known - 6, count):
        days = first + seven + rng.integers(-8, 9, 7) + 365 * rng.integers(-2, 3, 7)
        days = np.where((days >= 0) & (days < known), days, first + seven)
        learnt.append(week(days, (rng.integers(7) + seven) % 7))
    tested = [week(day + seven, weekdays[day : day + 7]) for day in range(known, len(table) - 6)]
    (x, y), (other_x, other_y) = (zip(*part, strict=True) for part in (learnt, tested))
    return (np.stack(x), list(y)), (np.stack(other_x), list(other_y))


def words_right(said: list[str], right: list[str]) -> float:
    """Return the share of words that are at their place, of those of the longer sentence."""
    pairs = [(one.split(), other.split()) for one, other in zip(said, right, strict=True)]
    equal = sum(sum(map(str.__eq__, *pair)) for pair in pairs)
    return equal / sum(max(map(len, pair)) for pair in pairs)


def nearest(x: np.ndarray, y: list[str], weeks: np.ndarray) -> list[str]:
    """Return the sentences of the most similar weeks."""
    return [y[int(np.abs(x - week).sum(axis=(1, 2)).argmin())] for week in weeks]


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train and test the model; see the module."""
    (x, y), (weeks, right) = weather(20_000 if full else 8000, seed)
    model = lc.EncoderDecoder(
        source_features=x.shape[2],
        target=TextVectorization(standardize=None),
        embedding_size=24,
        units=64,
        bidirectional=True,
        seed=seed,
    )
    rate = lc.schedules.OneCycle(1e-2, 8 * -(-len(y) // 32))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0))
    model.fit(x, y, epochs=8, verbose=0)
    usual = Counter(y).most_common(1)[0][0]
    if pictures is not None:
        best = model.decode(weeks[:1], return_attention=True)[0][0]
        if best.attention is not None and len(best.tokens):
            days = [DAYS[step[-7:].argmax()][:2] for step in weeks[0]]
            file = Path(pictures) / "weather_report.svg"
            attention_map(best.attention, days, (best.text or "").split(), file)
    return {
        "LSTM": words_right(model.predict(weeks, verbose=0), right),
        "nearest week": words_right(nearest(x, y, weeks), right),
        "usual sentence": words_right([usual] * len(right), right),
    }


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more weeks to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print("share of words that are right, in the weeks of 2015")
    for name, value in run(options.full, options.seed, options.pictures).items():
        print(f"  {name:24} {value:.3f}")


if __name__ == "__main__":
    main()

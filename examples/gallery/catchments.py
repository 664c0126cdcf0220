"""One LSTM for many catchments: what attributes that never change are worth, and where to put them.

A river's flow follows from the weather, but how fast depends on soil and rock. The network sees
years of daily weather and attributes of the catchment: nowhere, before the head, as the first
state, at every step, or in the input gate alone (EA-LSTM, Kratzert et al. 2019). It is scored in
years that it has not seen, and in catchments that it never saw. All data is drawn: a bucket model
with soil, a quick and a slow reservoir, whose parameters follow from the attributes, under random
weather. Beside it: ridge regression on averages of the past, attributes and products of both.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

import lstmcore as lc
from lstmcore import layers

UNITS, EPOCHS, DAYS, SPIN_UP = 32, 40, 365, 120
MEMORIES = (1, 3, 10, 30, 90)  # days, of the averages that ridge regression sees
MEASURES = {"*": ("Nash-Sutcliffe efficiency, median", "higher")}
PLACES = ("nowhere", "before the head", "as the first state", "at every step", "in the input gate")


class Data(NamedTuple):
    """Of K catchments: weather (K, T, 2), attributes (K, 5) and discharge (K, T, 1)."""

    weather: np.ndarray
    attributes: np.ndarray
    discharge: np.ndarray


def draw_catchments(count: int, years: int, random: np.random.Generator) -> Data:
    """Draw attributes and weather, and let the bucket model compute the discharge in mm a day."""
    attributes = random.standard_normal((count, 5))  # the last two do nothing
    capacity = 150 * np.exp(0.6 * attributes[:, 0])  # mm of water that the soil holds
    slow = 40 * np.exp(0.7 * attributes[:, 1])  # days that ground water takes
    share = 1 / (1 + np.exp(-1.5 * attributes[:, 2]))  # of what leaves the soil that is quick
    shape = (years * DAYS, count)
    season = np.sin(2 * np.pi * (np.arange(shape[0])[:, None] / 365 + random.random(count)))
    rain = (random.random(shape) < 0.4) * random.gamma(0.8, 9.0, shape)
    demand = np.maximum(1.8 + 1.8 * season + 0.3 * random.standard_normal(shape), 0)
    soil, quick, deep = capacity / 2, np.zeros(count), np.zeros(count)
    flows = np.zeros(shape)
    for day in range(shape[0]):
        soil = soil + rain[day] - np.minimum(demand[day] * soil / capacity, soil)
        leaving = 0.5 * rain[day] * np.minimum(soil / capacity, 1) ** 2
        leaving = np.minimum(leaving + np.maximum(soil - leaving - capacity, 0), soil)
        soil, quick = soil - leaving, quick + share * leaving
        deep = deep + (1 - share) * leaving
        flows[day] = quick / 2 + deep / slow
        quick, deep = quick / 2, deep * (1 - 1 / slow)
    return Data(np.stack([rain.T / 8, demand.T / 2], axis=-1), attributes, flows.T[..., None])


def network(place: str, seed: int) -> lc.Model:
    """Make a network that sees the attributes at a place."""
    weather, known = lc.Input((None, 2), name="weather"), lc.Input((5,), name="attributes")
    lstm = layers.LSTM(UNITS, return_sequences=True, forget_bias=3.0)
    if place == "in the input gate":
        y = layers.EALSTM(UNITS, return_sequences=True, forget_bias=3.0)([weather, known])
    elif place == "as the first state":
        h, c = layers.Dense(UNITS, "tanh")(known), layers.Dense(UNITS)(known)
        y = lstm(weather, initial_state=[h, c])
    elif place == "before the head":
        y = layers.Dense(UNITS, "relu")(layers.Concatenate()([lstm(weather), known]))
    else:
        y = lstm(layers.Concatenate()([weather, known]))
    return lc.Model([weather, known], layers.Dense(1)(y), seed=seed)


def train(model: lc.Model, data: Data) -> None:
    """Train on whole years, except for their first days, in which the state fills."""
    x, y = data.weather.reshape(-1, DAYS, 2), data.discharge.reshape(-1, DAYS, 1)
    known = np.repeat(data.attributes, len(x) // len(data.attributes), axis=0)
    counts = np.tile(np.arange(DAYS) >= SPIN_UP, (len(x), 1)).astype(float)
    rate = lc.schedules.OneCycle(1e-2, EPOCHS * -(-len(x) // 16))
    model.compile(lc.optimizers.Adam(rate, global_clipnorm=1.0), "mse")
    model.fit([x, known], y, 16, EPOCHS, sample_weight=counts, verbose=0)


def table(data: Data) -> np.ndarray:
    """Return what ridge regression sees on each day: averages of the past, and products."""
    parts = [np.ones_like(data.discharge)]
    for memory in MEMORIES:
        past = data.weather.copy()
        for day in range(1, past.shape[1]):
            past[:, day] = past[:, day - 1] + (past[:, day] - past[:, day - 1]) / memory
        parts.append(past)
    x = np.concatenate(parts, axis=-1)
    products = x[..., None] * data.attributes[:, None, None]
    return np.concatenate([x, products.reshape(*x.shape[:2], -1)], axis=-1)


def efficiency(simulated: np.ndarray, data: Data) -> float:
    """Return the median over catchments of the Nash-Sutcliffe efficiency, after the first year."""
    s, q = simulated[:, DAYS:, 0], data.discharge[:, DAYS:, 0]
    return float(np.median(1 - ((s - q) ** 2).mean(axis=1) / q.var(axis=1)))


def run(
    full: bool = False, seed: int = 0, pictures: str | os.PathLike[str] | None = None
) -> dict[str, float]:
    """Train a network for each place of the attributes, print the table, return the figures."""
    random = np.random.default_rng(seed)
    learned = draw_catchments(120 if full else 40, 8, random)
    others = draw_catchments(40, 3, random)
    weather, known, flow = learned
    past = Data(weather[:, : 5 * DAYS], known, flow[:, : 5 * DAYS])
    later = Data(weather[:, 5 * DAYS :], known, flow[:, 5 * DAYS :])
    x, y = table(past).reshape(-1, 66), past.discharge.reshape(-1, 1)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    simulated = {"ridge regression": [table(data) @ weights for data in (later, others)]}
    for place in PLACES:
        factor = 0.0 if place == "nowhere" else 1.0
        model = network(place, seed)
        train(model, past._replace(attributes=factor * past.attributes))
        given = [[data.weather, factor * data.attributes] for data in (later, others)]
        simulated[f"LSTM, {place}"] = [model.predict(x, verbose=0) for x in given]
    print(f"{'attributes':26}{'fresh years':>12}{'other catchments':>18}")
    figures = {}
    for name, (fresh, elsewhere) in simulated.items():
        scores = efficiency(fresh, later), efficiency(elsewhere, others)
        figures[f"{name}, fresh years"], figures[f"{name}, other catchments"] = scores
        print(f"{name:26}{scores[0]:12.3f}{scores[1]:18.3f}")
    if pictures is not None:
        from matplotlib.figure import Figure

        axes = (figure := Figure(figsize=(8, 3.2), layout="constrained")).subplots()
        for name in ("ridge regression", "LSTM, nowhere", "LSTM, in the input gate"):
            axes.plot(simulated[name][1][0, DAYS : 2 * DAYS], label=name)
        axes.plot(others.discharge[0, DAYS : 2 * DAYS], "k:", label="discharge")
        axes.legend(title="mm a day, in a catchment that was never seen")
        figure.savefig(Path(pictures) / "catchments.svg")
    return figures


def main() -> None:
    """Run the program from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="three times as many catchments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", help="a folder for the picture")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()

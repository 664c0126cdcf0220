"""Train one LSTM for many catchments, and write what run.cpp reads.

Usage: python make_catchments.py [--catchments COUNT] [--output FOLDER] [--seed SEED]

The LSTM sees the weather of each day and the attributes of the catchment, as in Kratzert et al.
(2019). The truth is the bucket model of examples/python/catchment.py, with other attributes for
every catchment. Training standardizes its data; the scales then become a part of the weights, so
that the model takes and returns the units of the files. The program reports the median
Nash-Sutcliffe efficiency of catchments that were not trained on, in fresh weather, and ends with
status 1 if it misses the goal. It leaves

    catchments.safetensors   the model
    attributes.csv           COUNT drawn catchments: name, longitude, latitude and attributes
    catchments.cfg           the config file of the component
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from lstmcore.convert import from_torch, load_torch, to_torch

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))
import catchment as one  # the program for one catchment

GOAL = 0.8
TRAINED, FRESH, YEARS = 24, 12, 8
NAMES = ("soil_capacity", "quick_share", "slow_share")
LOWEST, HIGHEST = (60, 0.1, 0.02), (160, 0.3, 0.06)  # of the attributes
CONFIG = """\
model = catchments.safetensors
attributes = attributes.csv
forcings = precipitation [mm d-1], temperature [degC], evaporation [mm d-1]
outputs = discharge [mm d-1]
"""


def simulated(
    attributes: one.Values, years: int, random: np.random.Generator
) -> tuple[one.Values, one.Values]:
    """Draw weather (M, days, 3) for attributes (M, 3), and return it with the discharge."""
    weather = np.stack([one.draw_weather(365 * years, random) for _ in attributes])
    pairs = zip(weather, attributes, strict=True)
    return weather, np.stack([one.buckets(*pair) for pair in pairs])


def regional_model(state: dict[str, Any], scales: one.Scales) -> lc.Sequential:
    """Make a model of weather and attributes in their own units from standardized weights."""
    inputs = np.concatenate([scales.weather, scales.attributes], axis=1)
    model = lc.Sequential(
        [
            lc.layers.Input((None, inputs.shape[1])),
            lc.layers.LSTM(one.UNITS, return_sequences=True, name=one.LSTM),
            lc.layers.Dense(1, name="head"),
        ]
    )
    weights, config = from_torch(state, prefix=one.LSTM)
    matrix = weights["weight_ih_l0"].astype(float), weights["bias_l0"].astype(float)
    weights["weight_ih_l0"], weights["bias_l0"] = one.of_raw_inputs(matrix, inputs)
    head = one.of_raw_outputs(
        (state[f"{one.HEAD}.weight"], state[f"{one.HEAD}.bias"]), scales.discharge
    )
    tensors = to_torch(
        {name: one.single(array) for name, array in weights.items()}, config, prefix=one.LSTM
    )
    tensors |= {"head.weight": one.single(head[0]), "head.bias": one.single(head[1])}
    load_torch(model, tensors, {name: name for name in (one.LSTM, "head")})
    return model


def attribute_table(count: int, random: np.random.Generator) -> str:
    """Draw catchments."""
    places = random.uniform([6, 47], [15, 55], (count, 2))
    attributes = random.uniform(LOWEST, HIGHEST, (count, 3))
    lines = [",".join(["catchment", "longitude", "latitude", *NAMES])]
    for n, row in enumerate(np.concatenate([places, attributes], axis=1)):
        lines.append(",".join([f"catchment {n}", *(f"{value:.6g}" for value in row)]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, test on other catchments, and write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--catchments", type=int, default=5000, help="lines of attributes.csv")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    attributes = random.uniform(LOWEST, HIGHEST, (TRAINED + FRESH, 3))
    weather, discharge = simulated(attributes[:TRAINED], YEARS, random)
    state, scales = one.train(weather, attributes[:TRAINED], discharge, options.seed)
    model = regional_model(state, scales)
    model.save(options.output / "catchments.safetensors")
    (options.output / "attributes.csv").write_text(
        attribute_table(options.catchments, random), encoding="utf-8"
    )
    (options.output / "catchments.cfg").write_text(CONFIG, encoding="utf-8")

    weather, discharge = simulated(attributes[TRAINED:], 3, random)
    static = np.broadcast_to(attributes[TRAINED:, None], (*weather.shape[:2], 3))
    y = model.predict(np.concatenate([weather, static], axis=2), verbose=0)[..., 0]
    scores = [one.efficiency(t[365:], s[365:]) for t, s in zip(discharge, y, strict=True)]
    print(f"median Nash-Sutcliffe efficiency of {FRESH} other catchments: {np.median(scores):.4f}")
    if np.median(scores) < GOAL:
        sys.exit(f"expected at least {GOAL}")


if __name__ == "__main__":
    main()

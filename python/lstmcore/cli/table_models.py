"""Apply a model to a table: the columns and types that it takes, and its evaluation."""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcore._checks import listed
from lstmcore._suggest import did_you_mean
from lstmcore.cli.answers import Answers, read_layout
from lstmcore.cli.layout import Layout
from lstmcore.cli.report import counted
from lstmcore.cli.samples import Samples
from lstmcore.cli.tables import Table
from lstmcore.models import Sequential
from lstmcore.training import losses

__all__ = ["as_inputs", "layout_for", "ready_to_evaluate"]


def layout_for(
    model: Sequential, options: argparse.Namespace, table: Table, *, targets: bool
) -> Layout:
    """Determine the roles of the columns of `table` for `model`.

    `lstmcore train` stores this in the model's file; for other models, the options say so. Options
    that are given always take precedence, for example if a column was renamed.

    Raises
    ------
    ValueError
        If columns are missing, or their number is not what the model takes.
    """
    kept = read_layout(model, options.model)
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("text", "key", "time")
        if getattr(options, name) is not None
    }
    if options.features is not None:
        given["features"] = tuple(options.features)
    target = getattr(options, "target", None)
    if target is not None:
        given["target"] = target
    layout = _from_options(model, options, table, given) if kept is None else replace(kept, **given)
    if targets and not layout.target:
        raise ValueError("--target: expected the column of the targets, got none")
    if len(layout.features) != len(layout.means):
        wanted = counted(len(layout.means), "column")
        raise ValueError(
            f"--features: expected {wanted}, as many as the model takes, got "
            f"{listed(layout.features)}"
        )
    for name in [*layout.columns(), *([layout.target] if targets else [])]:
        if name not in table.places:
            raise ValueError(
                f"{table.source}: expected a column {name!r}, which the model needs, got "
                f"{listed(table.names)}{did_you_mean(name, table.names)}"
            )
    return layout


def _from_options(
    model: Sequential, options: argparse.Namespace, table: Table, given: dict[str, Any]
) -> Layout:
    """Make a layout from the options, for a model that was saved in Python."""
    taken = {given.get(name) for name in ("key", "time", "target")}
    rest = [name for name in table.names if name not in taken]
    given.setdefault("target", "")
    if model.vectorizer is not None:
        if "text" not in given and len(rest) != 1:
            raise ValueError(
                f"--text: expected the column of the texts, one of {listed(rest)}, got none"
            )
        return Layout("text", **{"text": rest[0] if rest else None, **given})
    features = given.pop("features", tuple(rest))
    shape = model.input_shape
    if len(shape) == 3 or model._network[0].input_kind == "ids":
        width = shape[2] if len(shape) == 3 else 1
    else:
        raise ValueError(
            f"MODEL: expected a model of sequences, got {options.model}, which takes one row of "
            f"{shape[-1]} numbers for each answer"
        )
    if len(features) != width:
        assert width is not None  # the model is built
        raise ValueError(
            f"--features: expected {counted(width, 'column')} of numbers, as many as the model "
            f"takes, got {len(features)}: {listed(features)}; name them with "
            "--features, and use --key or --time for columns that are not among them"
        )
    ones = (1.0,) * len(features)
    return Layout(
        "sequences",
        per_step=len(model.output_shape) == 3,
        features=features,
        means=(0.0,) * len(features),
        scales=ones,
        **given,
    )


def as_inputs(model: Sequential, x: list[Any]) -> list[Any]:
    """Convert inputs to the type that the model takes: token ids, or numbers of its dtype."""
    if model.vectorizer is not None:
        return x
    if model._network[0].input_kind != "ids":
        return [np.asarray(row, dtype=model.dtype) for row in x]
    for row in x:
        if (row != np.floor(row)).any():
            raise ValueError("--features: expected whole numbers, the ids of tokens")
    return [row[:, 0].astype(np.int64) for row in x]


def ready_to_evaluate(model: Sequential, answers: Answers, samples: Samples) -> Samples:
    """Compile the model if need be; convert the samples to the types of model and loss."""
    units = model.output_shape[-1] or 1
    if not model.is_compiled:
        logits = answers.activation is not None
        loss: losses.LossLike = "mse"
        if answers.classes is not None:
            kind = losses.BinaryCrossentropy if units == 1 else losses.SparseCategoricalCrossentropy
            loss = kind(from_logits=logits)
        model.compile(None if model.quantized else "sgd", loss)
    if answers.classes is None:
        width = model.compiled.loss.target_width(units)
        if width > 1 and samples.kind != "series":
            raise ValueError(
                f"MODEL: expected a model of one target, got one of {width}; evaluate such a model "
                "in Python"
            )
        y = [np.asarray(target, dtype=model.dtype) for target in samples.y]
    elif model.compiled.loss.labels:
        y = samples.y
    elif units == 1:
        y = [np.asarray(target, dtype=model.dtype)[..., None] for target in samples.y]
    else:
        y = [np.eye(units, dtype=model.dtype)[target] for target in samples.y]
    return replace(samples, x=as_inputs(model, samples.x), y=y)

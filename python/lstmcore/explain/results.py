"""The results of explanations, and how they are shown."""

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from lstmcore import _checks, plots
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AttentionMap", "Attribution", "GateTrace", "GateName", "Method", "Trace"]

GateName: TypeAlias = Literal["i", "f", "g", "o", "c", "h"]
Method: TypeAlias = Literal["integrated_gradients", "gradient_x_input", "occlusion", "attention"]

POSITIVE, NEGATIVE = (37, 99, 235), (234, 88, 12)  # red, green, blue


@dataclass(frozen=True)
class GateTrace:
    """Gates and states of one LSTM layer in one direction, at every step.

    Attributes
    ----------
    i, f, g, o : ndarray, shape (N, T, H)
        Input gate, forget gate, candidate and output gate, after their activations.
    c : ndarray, shape (N, T, H)
        Cell state after each step.
    h : ndarray, shape (N, T, H), with a projection (N, T, P)
        Hidden state after each step.

    Notes
    -----
    Steps are in the order of the input, for a direction that walks backwards, too. Past a row's
    length all are NaN.
    """

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array


class Trace(Mapping[str, GateTrace]):
    """The result of `trace`: a `GateTrace` for each layer and direction, by name.

    The name is that of the layer; with more than one layer or direction inside it, the ending of
    the weights' names follows, such as "lstm_l0" and "bidirectional_l0_reverse".

    Parameters
    ----------
    parts : mapping of str to GateTrace
    tokens : sequence of (list of str or None)
        The tokens of each row; None: it is no text.
    other_tokens : mapping of str to sequence, optional
        Those of parts that read something else than the input.

    Attributes
    ----------
    tokens : list of (list of str or None)
        Those of the input.
    """

    def __init__(
        self,
        parts: Mapping[str, GateTrace],
        tokens: Sequence[list[str] | None],
        other_tokens: Mapping[str, Sequence[list[str] | None]] | None = None,
    ) -> None:
        self._parts = dict(parts)
        for part in self._parts.values():
            _checks.instance(part, GateTrace, "parts", "a GateTrace for each layer")
        if not self._parts:
            raise ValueError("parts: expected a GateTrace for each layer, got none")
        self.tokens = list(tokens)
        self._other_tokens = dict(other_tokens or {})

    def tokens_of(self, name: str) -> list[list[str] | None]:
        """Return the tokens of each row that a part reads, such as the target for "decoder"."""
        _ = self[name]  # which names the parts if there is none of this name
        return list(self._other_tokens.get(name, self.tokens))

    def __getitem__(self, name: str) -> GateTrace:
        if name not in self._parts:
            known = ", ".join(map(repr, self._parts))
            raise KeyError(f"{name!r}: expected one of {known}{did_you_mean(name, self._parts)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        shapes = (f"{name}: {part.c.shape}" for name, part in self.items())
        return f"Trace({', '.join(shapes)})"

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        layer: str | None = None,
        row: int = 0,
        show: Sequence[GateName] = ("i", "f", "o", "c"),
    ) -> "list[Axes]":
        """Draw gates and states of one row as maps, units by steps, one below the other.

        Parameters
        ----------
        path : path-like, optional
            As in `plots.learning_curve`.
        layer : str, optional
            Name of a layer; None: the first.
        row : int, default 0
            Which sample.
        show : sequence of str, default ("i", "f", "o", "c")
            Among i, f, g, o, c and h. Gates are drawn from 0 to 1, the others symmetrically.

        Returns
        -------
        list of Axes

        Raises
        ------
        KeyError, ValueError
            If there is no such layer, row or array.
        ImportError
            If matplotlib is not installed.
        """
        layer = next(iter(self._parts)) if layer is None else layer
        part = self[layer]
        known = ("i", "f", "g", "o", "c", "h")
        if not show or any(name not in known for name in show):
            raise ValueError(f"show: expected some of {', '.join(known)}, got {show!r}")
        if not 0 <= row < len(part.c):
            raise ValueError(f"row: expected 0 to {len(part.c) - 1}, got {row}")
        steps = int((~np.isnan(part.c[row, :, 0])).sum())
        tokens = self.tokens_of(layer)[row]
        width = max(4.6, 0.32 * steps) if tokens else 7.2
        figure = plots.new_figure(min(width, 16.0), 1.2 * len(show) + 0.6)
        axes = plots.new_axes(figure, len(show))
        for ax, name in zip(axes, show, strict=True):
            values = getattr(part, name)[row, :steps].T
            gate = name in ("i", "f", "o")
            top = 1.0 if gate else max(float(np.abs(values).max(initial=0.0)), 1e-12)
            shades = _shades(diverging=not gate)
            low = 0.0 if gate else -top
            image = ax.imshow(values, cmap=shades, vmin=low, vmax=top, aspect="auto")
            figure.colorbar(image, ax=ax, pad=0.01)
            text, _ = plots.inks(ax)
            ax.set_ylabel(name, rotation=0, color=text, labelpad=10)
            ax.set_yticks([])
            ax.set_xticks([])
        if tokens:
            axes[-1].set_xticks(range(steps), tokens[:steps], rotation=90, parse_math=False)
        else:
            axes[-1].set_xticks(np.unique(np.linspace(0, max(steps - 1, 0), 8, dtype=int)))
        plots._finish(axes[0], path, made=True)
        return axes


@dataclass(frozen=True)
class Attribution:
    """How much each step of one sample adds to an output.

    Attributes
    ----------
    values : ndarray of float64, shape (T,) or (T, C)
        For each token, or for each value of a series; positive ones raise the output. Weights of
        attention, for that method.
    method : str
    target : int or None
        Which of the outputs is explained, or which token of an `EncoderDecoder`; None for attention
        and for whole targets.
    output : float or None
        The output for the sample, of an `EncoderDecoder` a log-probability; None for attention.
    baseline_output : float or None
        The output for the baseline; None for the methods that have none.
    tokens : list of str or None
        Those of a text.
    others : float
        What the other inputs of a graph add, which has several.
    """

    values: Array
    method: Method
    target: int | None = None
    output: float | None = None
    baseline_output: float | None = None
    tokens: list[str] | None = field(default=None, repr=False)
    others: float = 0.0

    @property
    def difference(self) -> float | None:
        """Output minus that of the baseline, which integrated gradients add up to."""
        if self.output is None or self.baseline_output is None:
            return None
        return self.output - self.baseline_output

    @property
    def error(self) -> float | None:
        """How far the sum of `values`, and of `others`, is from `difference`."""
        difference = self.difference
        if difference is None:
            return None
        return abs(float(self.values.sum()) + self.others - difference)

    def by_token(self) -> list[tuple[str, float]]:
        """Return pairs of token (or the step's number) and its value, the largest first."""
        steps = self.values.reshape(len(self.values), -1).sum(axis=1)
        names = self.tokens or [str(place) for place in range(len(steps))]
        pairs = [(name, float(value)) for name, value in zip(names, steps, strict=True)]
        return sorted(pairs, key=lambda pair: -abs(pair[1]))

    def _repr_html_(self) -> str:
        """Return the tokens, coloured: blue where they raise the output, orange where they lower.

        Steps of a series stand as their numbers. Everything is escaped.
        """
        steps = self.values.reshape(len(self.values), -1).sum(axis=1)
        names = self.tokens or [str(place) for place in range(len(steps))]
        top = float(np.abs(steps).max(initial=0.0)) or 1.0
        spans = []
        for name, value in zip(names, steps, strict=True):
            colour = ",".join(map(str, POSITIVE if value >= 0 else NEGATIVE))
            shade = f"rgba({colour},{0.85 * abs(value) / top:.3f})"
            spans.append(
                f'<span title="{value:.4g}" style="background:{shade};padding:2px 3px;'
                f'border-radius:3px">{html.escape(name)}</span>'
            )
        found = "" if self.output is None else f" output {self.output:.4g}"
        head = html.escape(f"{self.method.replace('_', ' ')}:{found}")
        return f"<div><small>{head}</small><br>{' '.join(spans)}</div>"

    def plot(
        self, path: str | os.PathLike[str] | None = None, *, title: str | None = None
    ) -> "Axes":
        """Draw the values: bars for tokens and a single channel, a map for several channels.

        Parameters
        ----------
        path : path-like, optional
            As in `plots.learning_curve`.
        title : str, optional
            Title above the picture; None: the method.

        Returns
        -------
        Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        count = len(self.values)
        width = min(max(4.6, 0.34 * count), 16.0) if self.tokens else 7.2
        (ax,) = plots.new_axes(plots.new_figure(width, 2.8))
        text, _ = plots.inks(ax)
        table = self.values.reshape(count, -1)
        if table.shape[1] == 1:
            colours = [plots.COLOURS[int(value < 0)] for value in table[:, 0]]
            ax.bar(range(count), table[:, 0], color=colours)
            plots.tidy(ax)
        else:
            top = max(float(np.abs(table).max(initial=0.0)), 1e-12)
            ax.imshow(table.T, cmap=_shades(diverging=True), vmin=-top, vmax=top, aspect="auto")
            ax.set_ylabel("channel", color=text, fontsize=9)
        if self.tokens:
            ax.set_xticks(range(count), self.tokens, rotation=90, parse_math=False)
        shown = self.method.replace("_", " ") if title is None else title
        ax.set_title(shown, loc="left", color=text, fontsize=11, parse_math=False)
        plots._finish(ax, path, made=True)
        return ax


@dataclass(frozen=True)
class AttentionMap:
    """Where attention looks, for each token of a target or for each query.

    Attributes
    ----------
    values : ndarray of float64, shape (S, T)
        The weight of each step of the source; each row sums to 1, unless the source is empty.
    source, target : list of str or None
        The tokens of the two sides.
    """

    values: Array
    source: list[str] | None = field(default=None, repr=False)
    target: list[str] | None = field(default=None, repr=False)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "Attention",
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Draw the weights with `plots.attention_map`; steps without a text have their numbers.

        Parameters
        ----------
        path, title, ax
            As in `plots.attention_map`.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            If there is no weight.
        ImportError
            If matplotlib is not installed.
        """
        target, source = (
            [str(place) for place in range(count)] if tokens is None else tokens
            for tokens, count in zip((self.target, self.source), self.values.shape, strict=True)
        )
        return plots.attention_map(self.values, source, target, path, title=title, ax=ax)


def _shades(*, diverging: bool) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    low, high = plots.VALIDATION_COLOUR, plots.TRAINING_COLOUR
    ends = [low, "#ffffff", high] if diverging else ["#ffffff", high]
    return LinearSegmentedColormap.from_list("attribution", ends)

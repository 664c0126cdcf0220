"""Connectionist temporal classification: labels of whole sequences, in their order.

Letters: N sequences, T steps of outputs, S positions of targets, U outputs of a step.
"""

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Array, Infeasible, choices
from lstmcore.training.data import Ragged
from lstmcore.training.losses.base import clip_probabilities
from lstmcore.training.losses.sequence import SequenceLoss

__all__ = ["CTC", "best_path", "steps_needed"]


class CTC(SequenceLoss):
    """Learn the labels of a sequence in their order, with outputs that say when each occurs.

    An *alignment* has one symbol for each step: a label or the blank, which stands for none. It
    reads as the labels that are left when equal neighbours are merged and then blanks removed, so
    two equal labels in a row need a blank between them. The probability of an alignment is the
    product over its steps of ``softmax(outputs[t])[symbol]``, and the loss of a sequence is minus
    the logarithm of the sum over all alignments that read as its target (Graves, Fernandez, Gomez &
    Schmidhuber 2006). The sums are computed in logarithms and in float64, forward and backward.

    Targets are a list of N rows (S_n,) of labels without the blank, an array (N, S) of rows of one
    length or, with `padding`, an array of padded rows. A row may be empty: then every step is a
    blank. `lstmcore.decoding` turns outputs into labels.

    Parameters
    ----------
    blank : int, default 0
        The number of the blank among the U outputs.
    padding : int, optional
        What fills up rows of targets at their end, such as -1, or the blank itself. None: every
        entry is a label.
    infeasible : {"error", "zero"}, default "error"
        What happens to a target without any alignment, because the outputs have fewer steps than
        it has labels and equal neighbours: a ValueError before training, or a loss and a
        gradient of 0, like PyTorch's ``zero_infinity``. "zero" leaves out every loss that is
        infinite, also because a label's logit is -infinity; such sequences count in the mean.
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with softmax, loss
        and activation are computed together from logits anyway. Logarithms of probabilities are
        logits. Probabilities are clipped to at least 1e-7 and divided by their sum.

    Notes
    -----
    The reported value is the mean over sequences of their losses. PyTorch's ``"mean"`` first
    divides each of them by the length of its target; its ``"sum"``, divided by N, is the same.
    """

    activation = "softmax"

    def __init__(
        self,
        blank: int = 0,
        padding: int | None = None,
        infeasible: Infeasible = "error",
        from_logits: bool = False,
    ) -> None:
        self.blank = _checks.integer(blank, "blank", 0)
        self.padding = None if padding is None else _checks.integer(padding, "padding")
        self.infeasible = _checks.choice(infeasible, "infeasible", choices(Infeasible))
        self.from_logits = _checks.flag(from_logits, "from_logits")

    def sum_sequences(
        self,
        targets: Array,
        target_lengths: Array,
        outputs: Array,
        lengths: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `SequenceLoss.sum_sequences`. Without any alignment, a loss is infinite or 0."""
        logits, slopes = outputs, None
        if not self.from_logits:
            logits, slopes = self._logarithms(outputs, lengths)
        zero = self.infeasible == "zero"
        value, gradient = _core.ctc(
            logits,
            lengths,
            targets,
            target_lengths,
            self.blank,
            weights,
            zero,
            scale,
            need_gradient,
        )
        if gradient is not None and slopes is not None:
            gradient *= slopes
        return value, gradient

    def labels_of(self, outputs: Array, lengths: Array) -> list[Array]:
        """See `SequenceLoss.labels_of`: by greedy decoding."""
        rows = zip(outputs, lengths, strict=True)
        return [best_path(row[:length], self.blank) for row, length in rows]

    def _logarithms(self, outputs: Array, lengths: Array) -> tuple[Array, Array]:
        """Return the logarithms of probabilities, and their derivatives; 0 past the lengths."""
        valid = (np.arange(outputs.shape[1]) < lengths[:, None])[:, :, None]
        clipped, free = clip_probabilities(self, np.where(valid, outputs, 1))
        return np.log(clipped), np.where(valid & free, 1 / clipped, 0).astype(outputs.dtype)

    def trim(self, rows: Ragged) -> Ragged:
        """See `SequenceLoss.trim`: drop `padding` at the end of each row."""
        if self.padding is None:
            return rows
        labels = rows.padded()
        steps = np.arange(1, labels.shape[1] + 1)
        within = steps <= rows.lengths[:, None]
        lengths = np.where(within & (labels != self.padding), steps, 0).max(axis=1, initial=0)
        return Ragged(labels[steps <= lengths[:, None]], lengths)

    def label_rows(self, y: object, units: int, name: str = "y") -> Ragged:
        """See `SequenceLoss.label_rows`; the blank is no label."""
        if self.blank >= units:
            raise ValueError(
                f"loss: expected a blank in 0..{units - 1} (the model has {units} outputs: one for "
                f"each label and one for the blank), got CTC(blank={self.blank})"
            )
        rows = super().label_rows(y, units, name)
        blanks = np.flatnonzero(rows.values == self.blank)
        if blanks.size:
            where = rows.where((int(blanks[0]),))
            raise ValueError(
                f"{name}: expected labels other than the blank, {self.blank}, got it at "
                f"{name}{where}{self.label_advice(self.blank)}; the blank may have any other "
                f"number: CTC(blank={units - 1}) for labels from 0 to {units - 2}"
            )
        return rows

    def label_advice(self, label: int) -> str:
        """See `SequenceLoss.label_advice`."""
        if self.padding is not None:
            return ""
        return f"; if it fills up rows of targets, CTC(padding={label}) leaves it out"

    def refuse_pairs(
        self, targets: Ragged, lengths: Array, weights: Array | None, name: str
    ) -> None:
        """See `SequenceLoss.refuse_pairs`: unless `infeasible` is "zero", all must be feasible."""
        if self.infeasible == "zero":
            return
        needed = steps_needed(targets)
        wrong = needed > lengths
        if weights is not None:
            wrong &= weights != 0
        if not wrong.any():
            return
        row = int(wrong.argmax())
        count, repeats = int(targets.lengths[row]), int(needed[row] - targets.lengths[row])
        beside = f" and {repeats} for the blanks between equal neighbours" if repeats else ""
        raise ValueError(
            f"{name}[{row}]: expected a target that fits into the model's {lengths[row]} valid "
            f"steps of outputs, got one that needs {needed[row]}: {count} for its labels{beside}. "
            f"Of {len(wrong)} targets, {int(wrong.sum())} are too long. Use a longer input, less "
            "striding or pooling, or CTC(infeasible='zero'), with which such rows teach nothing"
        )


def best_path(outputs: Array, blank: int) -> Array:
    """Return the labels (S,) of the likeliest symbol at each step of outputs (T, U)."""
    path = outputs.argmax(axis=1)
    fresh = np.diff(path, prepend=-1) != 0
    return np.asarray(path[fresh & (path != blank)], np.int64)


def steps_needed(targets: Ragged) -> Array:
    """Return the fewest steps of outputs for each row (S_n,) of labels, (N,) of int64.

    One for each label, and one for the blank between two equal neighbours.
    """
    labels = targets.padded()
    equal = labels[:, 1:] == labels[:, :-1]
    equal &= np.arange(1, labels.shape[1]) < targets.lengths[:, None]
    return np.asarray(targets.lengths + equal.sum(axis=1))

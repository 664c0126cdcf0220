"""Gradual unfreezing of a model that was trained before."""

from collections.abc import Sequence
from typing import Any, Literal

from lstmcore import _checks
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.monitoring import written_lines

__all__ = ["GradualUnfreezing"]


class GradualUnfreezing(Callback):
    """Train the last layer first, and one more layer after each stage, down to the first.

    So a model whose lower layers come from another task does not forget what they have learnt
    before the new last layer makes sense (Howard & Ruder 2018). The other half of their recipe,
    smaller learning rates for lower layers, is `rate_factors` of the optimizers.

    Parameters
    ----------
    every : int, default 1
        Epochs of a stage.
    layers : sequence of str, or of sequences of str, optional
        Names of layers, from the first that is trained to the last that is unfrozen; several in a
        sequence of their own are unfrozen together. Other layers are left as they are. None: all
        layers with weights, from the last to the first.
    verbose : {0, 1}, default 0
        1: a line when layers are unfrozen.

    Notes
    -----
    It sets `Layer.trainable` of these layers at the beginning of each epoch. What is trained in an
    epoch depends on its number alone, so that a resumed training continues as if uninterrupted.
    After `fit` the layers stay as they are in the last epoch. Whether they were frozen before `fit`
    makes no difference.
    """

    _unfreezes = True

    def __init__(
        self,
        every: int = 1,
        layers: Sequence[str | Sequence[str]] | None = None,
        *,
        verbose: Literal[0, 1] = 0,
    ) -> None:
        self.every = _checks.integer(every, "every", 1)
        self.layers = None if layers is None else _stages(layers)
        self.verbose = written_lines(verbose)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Freeze all but the stages of the first epoch.

        Raises
        ------
        ValueError
            If the model has no such layer, or one without weights.
        """
        model: Any = self.model
        for name in (name for stage in self.layers or [] for name in stage):
            if not model.get_layer(name).weights:
                raise ValueError(f"layers: expected layers with weights, got {name!r}")
        self._set(int(self.params["initial_epoch"]))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Unfreeze the stages of this epoch."""
        self._set(epoch)

    def _set(self, epoch: int) -> None:
        model: Any = self.model
        stages = self.layers
        if stages is None:
            stages = [[str(layer.name)] for layer in reversed(model.layers) if layer.weights]
        trained = 1 + epoch // self.every
        for place, stage in enumerate(stages):
            layers = [model.get_layer(name) for name in stage]
            if place < trained and epoch and not all(layer.trainable for layer in layers):
                self._say(f"{', '.join(stage)} unfrozen", epoch)
            for layer in layers:
                if layer.trainable != (place < trained):
                    layer.trainable = place < trained


def _stages(layers: Any) -> list[list[str]]:
    """Check names of layers."""
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
        raise TypeError(f"layers: expected names of layers, got {_checks.describe(layers)}")
    stages = [[entry] if isinstance(entry, str) else list(entry) for entry in layers]
    names = [name for stage in stages for name in stage]
    for name in names:
        _checks.instance(name, str, "layers", "names of layers")
    if not all(stages) or len(set(names)) < len(names):
        raise ValueError(f"layers: expected different names, got {layers!r}")
    return stages

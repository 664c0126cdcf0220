"""What a model is compiled with: an optimizer, a loss and metrics."""

from collections.abc import Mapping
from typing import Any, cast

from lstmcore._suggest import suggests
from lstmcore._typing import DType, OptimizerName
from lstmcore.models.weighted import Weighted
from lstmcore.training import losses
from lstmcore.training.compiled import Compiled, Metrics
from lstmcore.training.heads import check_head
from lstmcore.training.joint import Joint
from lstmcore.training.losses import Loss, LossLike
from lstmcore.training.optimizers import Optimizer

__all__ = ["Compilable"]


class Compilable(Weighted):
    """A model that can be told how it is to be trained; `Trained` trains it.

    Parameters
    ----------
    seed, dtype
        As in `Sequential`.
    """

    def __init__(self, seed: int, dtype: DType) -> None:
        super().__init__(seed, dtype)
        self._compiled: Any = None  # Compiled or, with several outputs, Joint
        self._judged: Compiled | None = None  # the one that `_check_head` has checked

    @suggests
    def compile(
        self,
        optimizer: Optimizer | OptimizerName | None = "rmsprop",
        loss: LossLike | None = None,
        metrics: Metrics = None,
        weighted_metrics: Metrics = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : Optimizer or {"sgd", "rmsprop", "adam", "adamw"}
            None for a quantized model, which can be evaluated but not trained, and only for such a
            model.
        loss : Loss or str
            A short name, such as "mse" or "sparse_categorical_crossentropy", means the loss with
            its default options; see `lstmcore.losses`. A function of your own with its gradient is
            a `lstmcore.losses.Function`.
        metrics : Metric, str, Loss or callable, or a sequence of them, optional
            "accuracy" stands for the one that fits the loss, the name of a loss for its mean. A
            function of (y_true, y_pred), such as scikit-learn's, is called with all of an epoch;
            see `lstmcore.metrics.Function`.
        weighted_metrics : as `metrics`, optional
            Metrics to which `sample_weight` and `class_weight` apply as they do to the loss. In
            logs, one that `metrics` has as well is called "weighted_accuracy" and so on.

        Raises
        ------
        ValueError
            If a name is unknown or the parts do not fit together, such as a loss that expects
            probabilities and a last layer that does not return any. Conditions on the number of
            outputs, such as the top 5 of 2 classes, are checked here if the model is built, else by
            `fit` before its first step.

        Notes
        -----
        "mape" is a share, as in scikit-learn: 0.1 is 10 %, where Keras says 10.
        """
        if not self._network:
            raise ValueError("compile: the model has no layers")
        if loss is None:
            raise ValueError("loss: expected a Loss or its name, got None")
        chosen = self._checked_optimizer(optimizer)
        self._check_loss(losses.get(loss))
        compiled = Compiled.make(chosen, loss, metrics, self._last_activation, weighted_metrics)
        if self.built and self.output_shape[-1] is not None:
            compiled.check_shape(self.output_shape)
        self._compiled = compiled

    def _checked_optimizer(self, optimizer: Optimizer | str | None) -> Optimizer | str:
        """Return the optimizer to compile with; None is for a quantized model, and only for it."""
        if self.quantized:
            if optimizer is not None:
                raise ValueError(
                    "optimizer: expected None for a quantized model, which can be evaluated but "
                    f"not trained, got {optimizer!r}"
                )
            return "sgd"  # never used
        if optimizer is None:
            raise ValueError("optimizer: expected an Optimizer or its name, got None")
        return optimizer

    def _check_loss(self, loss: Loss) -> None:
        """Raise ValueError if the outputs do not suit `loss`."""
        check_head(loss, self._network)

    def _compiled_from(self, config: Any, custom_objects: Mapping[str, Any]) -> Any:
        """Return what `compile` made, given its description in a model file."""
        return Compiled.from_config(config, self._last_activation, custom_objects)

    def _check_head(self) -> None:
        """Raise ValueError if the loss does not fit layers that were added after `compile`.

        A built model whose layers change gets a new `Compiled`, so one check of each is enough.
        """
        if self._judged is not self.compiled:
            self._check_loss(self.compiled.loss)
            self._judged = self.compiled if self.built else None

    def _set_compiled(self, compiled: Compiled | Joint) -> None:
        """Set what `compile` makes."""
        self._compiled = compiled

    @property
    def is_compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compiled is not None

    @property
    def compiled(self) -> Compiled:
        """What `compile` made."""
        if self._compiled is None:
            raise ValueError("the model is not compiled yet; call compile(optimizer, loss)")
        return cast(Compiled, self._compiled)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        self._check_has_optimizer("optimizer")
        return self.compiled.optimizer

    def _check_has_optimizer(self, name: str) -> None:
        if self.quantized:
            raise ValueError(
                f"{name}: a quantized model is for inference only; train the model that it was "
                "made from and quantize that again"
            )

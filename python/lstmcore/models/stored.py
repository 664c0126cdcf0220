"""The base of all models: weights, training, and files that store both."""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from lstmcore import _checks
from lstmcore._suggest import suggests
from lstmcore.models import checkpoint
from lstmcore.models.summary import Summarized
from lstmcore.models.trained import Trained
from lstmcore.models.transfer import LoadedWeights, layer_weights, load_weights, read_weights

__all__ = ["Stored"]

ModelT = TypeVar("ModelT", bound="Stored")


class Stored(Trained, Summarized):
    """What `Sequential`, `Model` and `EncoderDecoder` share.

    Parameters
    ----------
    seed, dtype
        As in `Sequential`.
    """

    @suggests
    def save(self, path: "str | os.PathLike[str]", *, include_optimizer: bool = True) -> None:
        """Write the model to one safetensors file, atomically.

        Parameters
        ----------
        path : str or path
            An existing file is replaced.
        include_optimizer : bool, default True
            Whether to save what training needs to resume: the optimizer, its slots, loss, metrics,
            the numbers of steps and epochs taken, and what callbacks remember. A quantized model
            has none of this.

        Raises
        ------
        TypeError
            If `path` is not a path.
        ValueError
            If the model is not built, or is quantized and a layer's precision was changed; or if
            the ending of `path` is that of another format, such as ``.keras``.

        Warns
        -----
        RuntimeWarning
            If weights are NaN or infinite; the first of them is named.
        """
        checkpoint.save(self, path, _checks.flag(include_optimizer, "include_optimizer"))

    @classmethod
    def load(
        cls: type[ModelT],
        path: "str | os.PathLike[str]",
        custom_objects: Mapping[str, Any] | None = None,
    ) -> ModelT:
        """Read a model of this class; see `lstmcore.load`."""
        model = checkpoint.load(path, custom_objects)
        if not isinstance(model, cls):
            raise ValueError(
                f"{os.fspath(path)}: expected one of class {cls.__name__}, "
                f"got {type(model).__name__}"
            )
        return model

    def load_weights(
        self,
        source: "str | os.PathLike[str] | Stored",
        by_name: bool = True,
        skip_mismatch: bool = False,
    ) -> LoadedWeights:
        """Copy the weights of another model, or of its file, into this model's layers.

        Frozen weights are loaded too, and the optimizer keeps its slots.

        Parameters
        ----------
        source : str, path or model
            A file that `Model.save` wrote, or a built model. Weights are converted to this model's
            dtype.
        by_name : bool, default True
            Whether layers are matched by their names; layers that only one side has are left
            alone. False: by their order, counting those that have weights, of which both sides must
            have equally many.
        skip_mismatch : bool, default False
            Whether a layer whose weights have other names or shapes than its counterpart's is
            skipped instead of being an error.

        Returns
        -------
        LoadedWeights
            Which layers were loaded, skipped, and not found.

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError
            If `source` is neither a path nor a model.
        ValueError
            If the file is damaged or no model file, this model or `source` is not built, this model
            is quantized, layers do not fit, or there is nothing to load. Nothing is changed then.
        """
        by_name = _checks.flag(by_name, "by_name")
        skip_mismatch = _checks.flag(skip_mismatch, "skip_mismatch")
        if not self.built:
            raise ValueError(
                "load_weights: this model is not built yet, so there is nothing to load into; call "
                "build(input_shape) first, or lc.load(path), which returns the model that was saved"
            )
        if isinstance(source, Stored) and not source.built:
            raise ValueError(
                "source: expected a built model, got one that has no weights yet; call its "
                "build(input_shape), or fit, first"
            )
        found = layer_weights(source) if isinstance(source, Stored) else read_weights(source)
        return load_weights(self, found, by_name, skip_mismatch)

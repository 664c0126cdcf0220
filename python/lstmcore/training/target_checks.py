"""What losses and metrics share: which targets they cannot take."""

from lstmcore._configurable import Configurable
from lstmcore._intake import Where
from lstmcore._typing import Array

__all__ = ["ChecksTargets"]


class ChecksTargets(Configurable):
    """Base of losses and metrics, which may refuse rows of targets."""

    def wrong_rows(self, targets: Array) -> Array | None:
        """Return which rows of targets it cannot take, of those whose weight is not 0.

        Parameters
        ----------
        targets : ndarray, shape (..., K), or (...) for class numbers

        Returns
        -------
        ndarray of bool, shape (...), or None
            None: it can take all of them.
        """
        return None

    def refuse_rows(
        self, targets: Array, wrong: Array, name: str, where: Where | None = None
    ) -> None:
        """Raise ValueError, which names the first row of `wrong`, if there is any.

        Parameters
        ----------
        targets, wrong
            As `wrong_rows` takes and returns them; `wrong` without rows of weight 0.
        name : str
            What the error calls the targets.
        where : callable, optional
            Writes the place of a row; None: the place in the array.
        """

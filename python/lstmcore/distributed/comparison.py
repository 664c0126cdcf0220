"""Errors that say which process has something else than rank 0."""

from collections.abc import Mapping, Sequence

from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.group import Group, first_other

__all__ = ["check_alike", "check_batches"]


def check_alike(
    group: Group, digests: Mapping[str, str], where: str, kind: type[Exception], advice: str = ""
) -> None:
    """Raise an error, in all processes, unless they have the same digests.

    Parameters
    ----------
    group : Group
    digests : mapping of str to str
        By the name of what they are of.
    where : str
        See `Group.share`.
    kind : type
        Of the error.
    advice : str, optional
        The end of its message.
    """
    found = group.share(dict(digests), where)
    differences = []
    for rank, theirs in enumerate(found):
        names = [name for name, value in theirs.items() if found[0].get(name) != value]
        if names:
            listed = ", ".join(name.replace("_", " ") for name in names)
            differences.append(f"{group.name(rank)} has other {listed}")
    if differences:
        raise group.agree(
            kind(
                "fit: expected the same model, data and arguments in all processes, but at "
                f"{where} {'; '.join(differences)}, compared with {group.name(0)}{advice}"
            )
        )


def check_batches(group: Group, checks: Sequence[str | None], where: str) -> None:
    """Raise DistributedError, in all processes, unless they were given the same batches.

    Parameters
    ----------
    group : Group
    checks : sequence of (str or None)
        Of each rank, a digest of its batch.
    where : str
        Which batch it is.
    """
    other = first_other(checks)
    if other is not None:
        raise group.agree(
            DistributedError(
                f"x: expected the same batches in all processes, but those at {where} "
                f"differ between {group.name(0)} and {group.name(other)}; seed what draws or "
                "shuffles them alike; every process takes its shards of each"
            )
        )

"""What is raised when processes that train together cannot go on together."""

__all__ = ["DistributedError"]


class DistributedError(RuntimeError):
    """A process that takes part in a training has failed, does not answer, or does something else.

    It is raised in every process that is left. Checkpoints that were written before are whole;
    training resumes from the last one, with any number of processes.
    """

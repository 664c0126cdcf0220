"""Every random decision of a model follows from the model's seed and the place of the decision."""

_MASK = (1 << 64) - 1


def derive(seed: int, *keys: int) -> int:
    """Return an independent seed for the place that `keys` name.

    The mixing function is SplitMix64's (Steele, Lea & Flood 2014).

    Parameters
    ----------
    seed : int
        Any integer.
    *keys : int
        Numbers of the place, such as the layer and the training step.

    Returns
    -------
    int
        In 0 .. 2**63 - 1.
    """
    state = _mix(seed & _MASK)
    for key in keys:
        state = _mix(state ^ _mix(key & _MASK))
    return state >> 1


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)

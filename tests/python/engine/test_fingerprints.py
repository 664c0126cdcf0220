"""Fingerprints of arrays: weights that changed are packed again."""

import numpy as np
import pytest

from lstmcore import _core


def some_arrays():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in ((40, 300), (7,), (0, 3), (200, 500))]


def test_equal_arrays_match():
    arrays = some_arrays()
    fingerprints = _core.Fingerprints(arrays)
    assert fingerprints.match(arrays)
    assert fingerprints.match([array.copy() for array in arrays])


@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_change_in_any_array_shows(which):
    arrays = some_arrays()
    fingerprints = _core.Fingerprints(arrays)
    for place in (0, arrays[which].size // 2, -1):
        number = arrays[which].flat[place]
        arrays[which].flat[place] = np.nextafter(number, 9.0)
        assert not fingerprints.match(arrays)
        arrays[which].flat[place] = number
    assert fingerprints.match(arrays)


def test_other_sizes_and_layouts_do_not_match():
    arrays = some_arrays()
    fingerprints = _core.Fingerprints(arrays)
    assert not fingerprints.match([arrays[0][:39], *arrays[1:]])
    assert not fingerprints.match([np.asfortranarray(arrays[0]), *arrays[1:]])
    with pytest.raises(ValueError, match="arrays: expected as many as before"):
        fingerprints.match(arrays[:3])
    with pytest.raises(ValueError, match="arrays: expected contiguous ones"):
        _core.Fingerprints([arrays[0].T])

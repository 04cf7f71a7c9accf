"""The state of a Judge as bytes."""

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.memory import pack, unpack

STATES = st.dictionaries(
    st.text(),
    arrays.arrays(np.float64, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    max_size=5,
)


@given(st.dictionaries(st.text(), st.integers() | st.text()), STATES)
def test_what_is_packed_comes_back_bit_for_bit(texts, state):
    """A rollout would go on with other evidence than it had, if only by a rounding, a sign of zero or a NaN."""
    told, found = unpack(pack(texts, state))
    assert told == texts
    assert list(found) == list(state)
    for name, array in state.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_an_array_that_is_no_row_of_memory_comes_back():
    """Every second cell of a table, or a table turned over, would come back as its neighbours."""
    table = np.arange(12.0).reshape(3, 4)
    _, found = unpack(pack({}, {"turned": table.T, "second": table[:, ::2]}))
    assert np.array_equal(found["turned"], table.T)
    assert np.array_equal(found["second"], table[:, ::2])


def test_what_is_cut_or_of_another_release_is_refused():
    """Evidence would begin in the middle of something, or not at all without a word."""
    packed = pack({"a": 1}, {"b": np.ones(100)})
    with pytest.raises(ValueError, match="not stored evidence"):
        unpack(packed[:-1])
    with pytest.raises(ValueError, match="not all of the stored evidence"):
        unpack(zlib.compress(zlib.decompress(packed)[:-8]))
    head = json.dumps({"format": 4}).encode()
    with pytest.raises(ValueError, match="another release"):
        unpack(zlib.compress(len(head).to_bytes(8, "little") + head))
    with pytest.raises(ValueError, match="not stored evidence"):
        unpack(zlib.compress(b"PK\x03\x04" + bytes(60)))  # the .npz of earlier releases

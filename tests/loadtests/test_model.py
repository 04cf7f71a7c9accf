"""The model for large bodies and failures."""

import pytest

from loadtests.model import BLOCK_BYTES, blocks


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
def test_a_body_has_the_length_that_was_asked_for(length):
    """Transfers would be told as cut off, or as whole when they are not."""
    assert sum(map(len, blocks(length))) == length


def test_no_two_blocks_are_the_same():
    """A proxy could lose one block and double another, and the hash would not tell."""
    assert len(set(blocks(8 * BLOCK_BYTES))) == 8

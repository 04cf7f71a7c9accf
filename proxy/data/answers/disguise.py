"""What is written in place of a label, so that nobody outside a worker learns it: `privacy` of an output.

    keep   the label
    hash   12 hex digits of a keyed hash
    mask   its first and last letter, and 6 hex digits of that hash: `c…t#5f21c9`
    drop   nothing: the output has no table of labels, and only pairs of it are compared

The hash is a keyed BLAKE2b (RFC 7693). Labels come from small sets, and whoever could hash by themselves would find
each by trying them all: so there is no hash without a key, and as long as there is none nothing is written. Equal
labels have equal hashes wherever the key is the same: in all workers, routes and outputs, before and after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from proxy.ledger.labels import LabelTable
from proxy.ledger.writer import Writer
from proxy.snapshot import Output

KEY_BYTES: Final = 32
HASH_DIGITS: Final = 12
"""48 bits: of the 63 labels that a table holds two are alike with a chance of 1 in 10^11."""
MASK_DIGITS: Final = 6
"""24 bits, for labels that begin and end alike."""
_MASKED_FROM: Final = 4
"""Of shorter labels the ends would be most of it."""
_PERSON: Final = b"understudy-label"


def table(writer: Writer, output: Output, key: bytes) -> LabelTable | None:
    """Where labels of an output are written, in the form that they may be told in; None where none may, or can."""
    if output.table.index < 0:
        return None
    if output.privacy == "keep":
        return writer.labels(output.table.index, output.table.tenant)
    if output.privacy == "drop" or not key:
        return None
    how = hashed(key) if output.privacy == "hash" else masked(key)
    return writer.labels(output.table.index, output.table.tenant, how)


def hashed(key: bytes) -> Callable[[str], str]:
    """Writes a label as its hash."""

    def write(label: str) -> str:
        return _digest(label, key)[:HASH_DIGITS]

    return write


def masked(key: bytes) -> Callable[[str], str]:
    """Writes a label as its ends and a part of its hash; of one with less than four letters the hash alone."""

    def write(label: str) -> str:
        tag = _digest(label, key)[:MASK_DIGITS]
        return f"{label[0]}…{label[-1]}#{tag}" if len(label) >= _MASKED_FROM else f"…#{tag}"

    return write


def _digest(label: str, key: bytes) -> str:
    return blake2b(label.encode("utf-8", "surrogatepass"), key=key, digest_size=8, person=_PERSON).hexdigest()

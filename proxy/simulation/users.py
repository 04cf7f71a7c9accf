"""Who asked: what the ledger keeps of the users of many requests at once.

It is the bulk form of `proxy.data.requests.router.place` and gives the same; a test holds one against the other. Every
user is hashed each time: to remember what came of it takes longer, of 50,000 users four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
from xxhash import xxh3_64_digest

from proxy.ledger.layout import USER_SLOTS
from proxy.simulation.records import Ints

ANONYMOUS: Final = -1
"""Slot and group of a request whose user is not known."""
_SLOT_SHIFT: Final = 40
_GROUP_SHIFT: Final = 58
"""Where slot and group begin among the 64 bits of a hash: the group is all that is above."""


def drawn(seed: int, users: Sequence[str | int | None]) -> tuple[Ints, Ints]:
    """Slot and group of each user.

    >>> [each.tolist() for each in drawn(0, ["u1", None, "", 17, "17"])]
    [[16421, -1, -1, 19229, 19229], [39, -1, -1, 40, 40]]
    """
    try:
        keys = [*map(str.encode, users)]  # type: ignore[arg-type]  # what is no text raises
    except (TypeError, UnicodeEncodeError):
        keys = [b"" if user is None else _bytes(user) for user in users]
    digests = np.frombuffer(b"".join(map(xxh3_64_digest, keys, repeat(seed))), dtype=">u8")
    slots, groups = ((digests >> shift).astype(np.int64) for shift in (_SLOT_SHIFT, _GROUP_SHIFT))
    slots &= USER_SLOTS - 1
    if not all(keys):
        nobody = np.array([not key for key in keys], dtype=np.bool_)
        slots[nobody] = groups[nobody] = ANONYMOUS
    return slots, groups


def _bytes(user: str | int) -> bytes:
    """What is hashed. JSON may have half of a character, which UTF-8 has not."""
    return str(user).encode("utf-8", "surrogatepass")

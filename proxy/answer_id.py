"""What `x-understudy-id` says: which answer a truth is about. Workers write it, the controller reads it, none keeps it.

    group 1 · tenant 7 · second 4 · run 4 · serial 4 · seal 7      27 bytes, 36 characters of base64url

`tenant` is the number of the ledger row that the answer was counted in, and so its route, version, stage and rollout:
it is random and never used twice. `second` is when the request arrived (seconds since 1970), `group` the hash group of
its user, `run` and `serial` name the answer among all of a worker's life, in their order, which makes it cheap to
remember which were heard of. The seal is a keyed BLAKE2b (RFC 7693) over the rest: 56 bits, so that whoever tries to
forge one asks the admin API some 10^16 times. Nothing in it is a secret of the user or of the model.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from time import monotonic, time
from typing import Final

KEY_BYTES: Final = 32
CHARACTERS: Final = 36
_SEAL_BYTES: Final = 7
_PERSON: Final = b"understudy-id"
_FORM: Final = b"1"
"""Sealed before the rest: the form of what follows. The hash of key and form is made once, and only the rest of a name
is hashed for each answer."""
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_SAID: Final = Struct(">QIII")
"""Group and tenant together, second, run, serial. The tenant has 52 bits: the group is above them."""
_GROUP_SHIFT: Final = 56
_TENANT: Final = (1 << _GROUP_SHIFT) - 1
_LAST_SERIAL: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class AnswerId:
    """An answer. `group` is -1 where its user is not known."""

    tenant: int
    second: int
    group: int
    run: int
    serial: int


class Stamp:
    """Names the answers of one worker. `key` is that of all workers, `ahead_s` how far the wall clock is ahead of the
    monotonic one, by default as it is now."""

    __slots__ = ("_ahead_s", "_run", "_sealing", "_serial", "key")

    def __init__(self, key: bytes, ahead_s: float | None = None) -> None:
        self.key = key
        self._sealing = blake2b(_FORM, key=key, digest_size=_SEAL_BYTES, person=_PERSON)
        self._ahead_s = time() - monotonic() if ahead_s is None else ahead_s
        self._run = int.from_bytes(os.urandom(4), "big")
        self._serial = 0

    def line(self, tenant: int, arrived_s: float, group: int) -> bytes:
        """The field of an answer, with its line end. `arrived_s` is of the monotonic clock."""
        self._serial += 1
        if self._serial > _LAST_SERIAL:
            self._run, self._serial = int.from_bytes(os.urandom(4), "big"), 1
        said = _SAID.pack(
            ((group + 1) << _GROUP_SHIFT) | tenant, int(arrived_s + self._ahead_s), self._run, self._serial
        )
        sealing = self._sealing.copy()
        sealing.update(said)
        return b"x-understudy-id: %b\r\n" % b2a_base64(said + sealing.digest(), newline=False).translate(_URL_SAFE)


def read(text: str, key: bytes) -> AnswerId | None:
    """The answer that a text names; None where no worker with this key has written it."""
    if len(text) != CHARACTERS or not text.isascii():
        return None
    try:
        raw = urlsafe_b64decode(text)
    except ValueError:
        return None
    said, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    sealing = blake2b(_FORM + said, key=key, digest_size=_SEAL_BYTES, person=_PERSON)
    if len(said) != _SAID.size or not compare_digest(sealing.digest(), seal):
        return None
    first, second, run, serial = _SAID.unpack(said)
    return AnswerId(first & _TENANT, second, (first >> _GROUP_SHIFT) - 1, run, serial)

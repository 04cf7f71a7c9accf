"""Which answers were heard of already: one bit for each, so that a truth that is told twice counts once. Exact.

Answers of a worker are numbered in their order, so the bits of those near each other in time lie in one chunk. Chunks
are forgotten by age; beyond MOST_CHUNKS the oldest go first, and `floor` says from when on memory is whole: whoever
asks about an answer of before does not get to know, and must not count it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CHUNK_BYTES: Final = 512
"""4,096 answers: a minute of a worker with 70 requests per second. Small, since each that changes is kept again."""
MOST_CHUNKS: Final = 8192
"""4 MiB of bits, 33 million answers; with what Python needs around them about 6 MiB."""
FORGET_EVERY_S: Final = 60
_BITS: Final = 8 * CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring answers of one worker, as they are kept. `second` is that of the newest that was heard of."""

    run: int
    number: int
    second: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a memory has to be kept: all that was kept before is void if `anew`, else what is older than `floor`."""

    anew: bool
    floor: int
    chunks: tuple[Chunk, ...]


@dataclass(slots=True)
class _Page:
    second: int
    bits: bytearray


class Seen:
    """The memory of one rollout."""

    def __init__(self, chunks: Iterable[Chunk] | None = None, floor: int = 0) -> None:
        """With the chunks that were kept of it; None begins anew, whatever was kept."""
        self.floor = floor
        self._anew = chunks is None
        self._pages = {(one.run, one.number): _Page(one.second, bytearray(one.bits)) for one in chunks or ()}
        self._changed: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self._pages)

    def add(self, run: int, serial: int, second: int) -> bool:
        """Note an answer of a time after `floor`; False if it was noted before."""
        number, bit = divmod(serial, _BITS)
        page = self._pages.get((run, number))
        if page is None:
            if len(self._pages) >= MOST_CHUNKS:
                self._forget_oldest()
            page = self._pages[run, number] = _Page(second, bytearray(CHUNK_BYTES))
        mask = 1 << (bit & 7)
        if page.bits[bit >> 3] & mask:
            return False
        page.bits[bit >> 3] |= mask
        page.second = max(page.second, second)
        self._changed.add((run, number))
        return True

    def forget(self, before: int) -> None:
        """Drop what is older than this second, now and then."""
        if before >= self.floor + FORGET_EVERY_S:
            self._drop(before)

    def _drop(self, before: int) -> None:
        # Not beyond what was noted: of what comes later all is remembered, and a clock that was set a year ahead for
        # a moment would have all truths of that year refused.
        newest = max((page.second for page in self._pages.values()), default=self.floor - 1)
        self.floor = max(self.floor, min(before, newest + 1))
        for key in [key for key, page in self._pages.items() if page.second < before]:
            del self._pages[key]
            self._changed.discard(key)

    def _forget_oldest(self) -> None:
        """Make room for many at once, so that it is not looked for at each."""
        seconds = sorted(page.second for page in self._pages.values())
        self._drop(seconds[len(seconds) // 16] + 1)

    def changes(self) -> Changes:
        """What has to be kept by now."""
        pages = ((key, self._pages[key]) for key in self._changed)
        return Changes(self._anew, self.floor, tuple(Chunk(*key, page.second, bytes(page.bits)) for key, page in pages))

    def begin_anew(self) -> None:
        """The store is another one: all of it has to be kept there."""
        self._anew, self._changed = True, set(self._pages)

    def kept(self, changes: Changes) -> None:
        """These are kept: what was noted since is not."""
        self._anew = False
        for chunk in changes.chunks:
            page = self._pages.get((chunk.run, chunk.number))
            if page is None or page.bits == chunk.bits:
                self._changed.discard((chunk.run, chunk.number))

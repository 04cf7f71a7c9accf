"""Bodies that are gathered: in as few pieces as they have bytes, not in as many as somebody chose to send.

A bound on the bytes of a body is none on its memory: a piece of two bytes takes fifty. Whoever sends a body in chunks
of one byte, client or backend, would have it take thirty times what its route allows.
"""

from __future__ import annotations

from typing import Final

from proxy.data.wire.bodies import Piece

PIECE_BYTES: Final = 64
"""What a piece takes beside its bytes: the object, its place in a list, and the framing of a chunk."""
PIECES: Final = 1024
"""After so many more pieces small ones are made one. They take 64 KiB then, and ordinary bodies have fewer."""
SMALL_BYTES: Final = 4096


def gather(kept: list[Piece], data: Piece) -> None:
    """Keep another piece of a body. Each byte is copied five times at most, however small the pieces are.

    >>> kept = []
    >>> for _ in range(1_000_000):
    ...     gather(kept, b"a")
    >>> len(kept) < 2 * PIECES, len(b"".join(kept))
    (True, 1000000)
    """
    kept.append(data)
    if len(kept) % PIECES == 0:
        at = len(kept)
        while at and len(kept[at - 1]) < SMALL_BYTES:
            at -= 1
        if at < len(kept):
            kept[at:] = [b"".join(kept[at:])]

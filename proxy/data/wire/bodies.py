"""Long bodies of known length, which go past the parser.

    read ─▶ [ end of a body ][ head ][ beginning of a body ]
              counted          parsed   counted

llhttp hands out every piece of a body as a copy, and to join it with its head is another one. Once a head has said
how long its body is there is nothing left to parse in it: the bytes are counted, and what was read is written. The
parser is in the middle of a message then, so the next message has a new one, which costs 1 µs; a copy of 16 KiB costs
about as much. Chunks are parsed, and so is a body that is shorter.

How long a body is decides, and not how it arrives: where the network cuts the bytes makes no difference.
"""

from __future__ import annotations

import asyncio
from typing import Final

Piece = bytes | memoryview
"""What is passed on of a body. A view holds the whole read that it is of."""

LONG_BYTES: Final = 16 << 10
"""From this length on a body is counted, and from this size on a piece is not copied to be joined with others."""
_HEAD_END: Final = b"\r\n\r\n"


def head_end(data: bytes, at: int) -> int:
    """Where the head that begins at `at` ends; the end of the data where it is not whole."""
    end = data.find(_HEAD_END, at)
    return len(data) if end < 0 else end + len(_HEAD_END)


def send(transport: asyncio.WriteTransport, pieces: list[Piece]) -> None:
    """Write pieces in one call of the system."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif not pieces or len(pieces[-1]) < LONG_BYTES:
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)

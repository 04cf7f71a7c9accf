"""The first line of an answer as it came, for which llhttp takes more than HTTP/1: RTSP, other versions, empty lines
before it and control bytes in it."""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 1000
"""Three digits and some words."""
_PROTOCOLS: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_PROTOCOL_BYTES: Final = 9
_CONTROLS: Final = bytes({*range(32), 127} - {9})


def begins(start: bytes) -> bool:
    """Whether these bytes begin an answer of HTTP/1, as far as they are there."""
    line, whole, _ = start.partition(b"\r\n")
    if len(line) < _PROTOCOL_BYTES:
        return not whole and any(protocol.startswith(line) for protocol in _PROTOCOLS)
    if not line.startswith(_PROTOCOLS) or len(line) > MAX_LINE_BYTES:
        return False
    text = line if whole else line.removesuffix(b"\r")
    return len(text) == len(text.translate(None, _CONTROLS))

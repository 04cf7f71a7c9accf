"""Bytes of a file or of a pipe as blocks of whole lines, plain or gzip, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Final

from proxy.simulation.records import RefusedError, newlines

BLOCK_BYTES: Final = 1 << 20
MAX_LINE_BYTES: Final = 8 << 20
"""A record is a few hundred bytes; a line beyond this is no line of such a file."""
_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
"""First bytes of what people pack logs with."""
_BOM: Final = b"\xef\xbb\xbf"


def blocks(raw: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, whole lines) again and again; gzip is told by its first bytes.

    Raises:
        RefusedError: the gzip data is damaged or cut short, it is packed otherwise, or a line is too long.
    """
    head = _some(raw, max(map(len, _OTHERS)))
    for first, name in _OTHERS.items():
        if head.startswith(first):
            raise RefusedError(0, f"the records are packed with {name}", "unpack them, or pack them with gzip")
    line, rest = 1, b""
    for data in _inflated(_Joined(head, raw)) if head.startswith(_GZIP) else _plain(_Joined(head, raw)):
        if isinstance(data, RefusedError):
            raise RefusedError(line + rest.count(b"\n"), data.message, data.remedy)
        end = data.rfind(b"\n") + 1
        if not end:
            rest += data
            if len(rest) > MAX_LINE_BYTES:
                raise RefusedError(line, f"is longer than {MAX_LINE_BYTES >> 20} MiB", "write one record on each line")
            continue
        whole, rest = b"".join((rest, memoryview(data)[:end])), data[end:]
        yield line, whole if line > 1 else whole.removeprefix(_BOM)
        line += newlines(whole)
    if rest:
        yield line, rest if line > 1 else rest.removeprefix(_BOM)


class _Joined:
    """What was read to look at it, and then the rest."""

    def __init__(self, head: bytes, raw: IO[bytes]) -> None:
        self._head, self._raw = head, raw

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; nothing at the end."""
        if self._head:
            found, self._head = self._head[:size], self._head[size:]
            return found
        return self._raw.read(size)


def _some(raw: IO[bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (more := raw.read(size - len(found))):
        found += more
    return found


def _plain(source: _Joined) -> Iterator[bytes | RefusedError]:
    while data := source.read(BLOCK_BYTES):
        yield data


def _inflated(source: _Joined) -> Iterator[bytes | RefusedError]:
    """What comes before the damage is handed out first, so that it is known in which line that is."""
    problem: RefusedError | None = None
    with gzip.GzipFile(fileobj=source, mode="rb") as unzipped:  # type: ignore[call-overload]  # it only reads
        while problem is None:
            found = bytearray()
            try:
                while len(found) < BLOCK_BYTES and (data := unzipped.read1(BLOCK_BYTES)):
                    found += data
            except EOFError:
                remedy = "copy the file again, or write it to its end"
                problem = RefusedError(0, "the gzip data ends in the middle", remedy)
            except (gzip.BadGzipFile, zlib.error) as error:
                remedy = "copy the file again, or unpack it by hand"
                problem = RefusedError(0, f"the gzip data is damaged: {error}", remedy)
            if found:
                yield bytes(found)
            elif problem is None:
                return
    yield problem

"""The first line of a request as it came, which llhttp does not show: it takes more than one space between the parts,
other protocols, and any number of empty lines before it (RFC 9112, sections 2.2 and 3, allow one of each).

An ordinary request begins with a read, and is looked at once, by its length and its end. A line that comes in pieces
is kept until it is whole. One that follows another request in the same read begins where that ends, which the parser
does not tell: it is counted from the head and the body before it. Only behind chunks that began in an earlier read the
count is not known, and the line is sought.
"""

from __future__ import annotations

from typing import Final

from proxy.data.requests.request_head import Refused
from proxy.faults import Fault

_HTTP_1_1: Final = b" HTTP/1.1"
_ORDINARY: Final = b" HTTP/1.1\r\n"
_HTTP_1_0: Final = b" HTTP/1.0"
_ENDS_BYTES: Final = 10
"""The second space and the version; the first space is the tenth."""
_KNOWN_1_1: Final = -1
_KNOWN_1_0: Final = -2
CHUNKED: Final = -1
"""The body before the line is in chunks, which are all there."""
UNKNOWN: Final = -2
"""It is in chunks, and began in an earlier read."""
COUNTED: Final = -3
"""It began in an earlier read, and the line begins where the last byte of the body is."""
_TEXT: Final = "a request line is METHOD, target and HTTP/1.1, with one space between and one empty line at most before"


class RequestLine:
    """What is known of the line of the request that is read now, or next, on one connection.

    `raw` has the bytes that the line is in. `at` is 0 where it begins them, negative where it was looked at already,
    and else one more than where the end of the line before it is. `body` is how long the body before it is, or one of
    the constants above. `half` says that the read before may have ended in the middle of an empty line.
    """

    __slots__ = ("at", "body", "half", "raw")

    def __init__(self) -> None:
        self.raw = b""
        self.at = 0
        self.body = 0
        self.half = False

    def end(self, method: bytes, target: bytes) -> bool:
        """The head is parsed: whether it is of HTTP/1.1, and not of HTTP/1.0.

        Raises:
            Refused: the line was not written as it must be.
        """
        raw, at = self.raw, self.at
        if at == 0:
            size = len(method) + len(target) + _ENDS_BYTES
            if raw.startswith(method) and raw[size - 9 : size + 2] == _ORDINARY:
                self.at = size + 1  # one that is written in another way ends elsewhere
                return True
            end = raw.find(b"\r\n")
            if end != size:
                raw = self.raw = self._behind_empty_line()
                end = raw.find(b"\r\n")
            if end == size:
                self.at = end + 1
                version = raw[end - 9 : end]
                if version == _HTTP_1_1:
                    return True
                if version == _HTTP_1_0:
                    return False
            raise _refused()
        if at < 0:
            self.at = 1
            return at == _KNOWN_1_1
        start = self._start()
        for version in (_HTTP_1_1, _HTTP_1_0):
            line = b"%b %b%b\r\n" % (method, target, version)
            if start < 0:
                begin = raw.find(line, at - 1)
            elif raw.startswith(line, start):
                begin = start
            else:
                begin = start + 2 if raw.startswith(b"\r\n" + line, start) else -1
            if begin >= 0:
                self.at = begin + len(line) - 1
                return version is _HTTP_1_1
        raise _refused()

    def pending(self, head: bool, owed: int | None) -> Refused | None:
        """A read ended in the middle of a head or a body, or brought none; what is wrong with what it brought.

        `owed` is how much of a body has yet to come, negative where that is not known, None where none has.
        """
        if owed is not None:
            self.raw, self.at, self.body = b"", max(owed, 0) + 1, UNKNOWN if owed < 0 else COUNTED
        elif not head:
            self._finish_half()
            return None if b"\r\n".startswith(self.raw) else _refused()
        elif self.at < 0:
            self.raw = self.raw[-3:]  # an empty line may end with the next read
        elif self.at == 0:
            line, whole, _ = self._behind_empty_line().partition(b"\r\n")
            if whole:
                if line.count(b" ") != 2 or line[:1] in b"\r\n" or not line.endswith((_HTTP_1_1, _HTTP_1_0)):
                    return _refused()
                self.raw, self.at = self.raw[-3:], _KNOWN_1_1 if line.endswith(_HTTP_1_1) else _KNOWN_1_0
        return None

    def _start(self) -> int:
        """Where the message before it ends; negative where that is not known."""
        raw, body = self.raw, self.body
        if body == UNKNOWN:
            return -1
        if body == COUNTED:
            return self.at - 1
        at = raw.find(b"\r\n\r\n", self.at - 1) + 4
        if body != CHUNKED:
            return at + body
        while True:
            size, _, _ = raw[at : (end := raw.find(b"\r\n", at))].partition(b";")
            at = end + 2
            if not (length := int(size, 16)):
                return at + 2 if raw.startswith(b"\r\n", at) else raw.find(b"\r\n\r\n", at) + 4
            at += length + 2

    def _behind_empty_line(self) -> bytes:
        self._finish_half()
        return self.raw.removeprefix(b"\r\n")

    def _finish_half(self) -> None:
        if self.half:
            self.half = False
            self.raw = self.raw.removeprefix(b"\n")


def _refused() -> Refused:
    return Refused(Fault.BAD_REQUEST, _TEXT)

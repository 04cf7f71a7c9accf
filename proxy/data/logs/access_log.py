"""The access log: which requests are written, and what a line says.

A line has the facts of one request, the header values that the settings list, and never a body. Why an answer was the
proxy's own is said twice: by the proxy's own word, and by the flags that Envoy's access log uses, which people's
searches and dashboards know.
"""

from __future__ import annotations

from datetime import UTC, datetime
from random import random
from time import time
from typing import Final

import msgspec

from proxy.data.logs.log_file import PIPE_BUF, LogFile
from proxy.data.logs.notices import Seldom
from proxy.data.wire.http1 import Headers
from proxy.faults import ENVOY_FLAGS, FACTS, Fault
from proxy.ledger.layout import W_LOG_DROPPED, W_LOGGED
from proxy.ledger.writer import Writer
from proxy.snapshot import CIRCLE
from proxy.snapshot import AccessLog as Settings

PATH_CHARS: Final = 1024
VALUE_CHARS: Final = 256
CLOSE_S: Final = 1.0
"""How long a worker that ends waits for its last lines."""


class Line(msgspec.Struct, rename="camel"):
    """One request. What is not known is empty, and times are milliseconds."""

    time: str
    """When it arrived (RFC 3339)."""
    request_id: str = ""
    trace_id: str = ""
    client: str = ""
    method: str = ""
    path: str = ""
    route: str = ""
    backend: str = ""
    role: str = ""
    status: int = 0
    """What the client was told; 0 where it got no answer."""
    flags: str = ""
    """Envoy's, several with commas between them."""
    fault: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    """Bodies, without their framing."""
    duration_ms: float = 0.0
    upstream_ms: float | None = None
    """From the last attempt's request to the first byte of its answer."""
    attempts: int = 0
    mirrored_to: tuple[str, ...] = ()
    headers: dict[str, str] = {}


_ENCODER: Final = msgspec.json.Encoder()


class AccessLog:
    """The log of one worker."""

    def __init__(self, settings: Settings, writer: Writer, previous: AccessLog | None = None) -> None:
        self.settings = settings
        self._headers = tuple((name.encode("latin-1"), name) for name in settings.headers)
        self._writer = writer
        self._trouble = Seldom()
        self._dropped = 0
        place = (settings.path, settings.max_buffer_bytes)
        same = previous is not None and (previous.file.path, previous.file.max_bytes) == place
        self.file: LogFile = previous.file if previous is not None and same else LogFile(*place)

    def wants(self, fault: Fault, status: int) -> bool:
        """Whether a request is written."""
        settings = self.settings
        if settings.errors_always and (fault or status >= 500):
            return True
        return random() * CIRCLE < settings.share  # noqa: S311 - a share of traffic, not a secret

    def write(self, line: Line) -> None:
        """Write a line, if there is room."""
        data = _ENCODER.encode(line) + b"\n"
        if len(data) > PIPE_BUF:
            line.path, line.headers = line.path[:VALUE_CHARS], {}
            data = _ENCODER.encode(line) + b"\n"
        if len(data) > PIPE_BUF or not self.file.add(data):
            self._dropped += 1

    def refused(self, fault: Fault, client: str, target: bytes) -> None:
        """Write of a request that was refused before it could be read."""
        status = FACTS[fault].status
        if self.wants(fault, status):
            self.write(
                Line(moment(0.0), client=client, path=self.path(target), status=status, flags=ENVOY_FLAGS[fault],
                     fault=FACTS[fault].flag)
            )  # fmt: skip

    def path(self, target: bytes) -> str:
        """What is written of a target."""
        if not self.settings.query:
            target = target.partition(b"?")[0]
        return target[:PATH_CHARS].decode("latin-1")

    def values(self, headers: Headers) -> dict[str, str]:
        """What is written of header fields: of those that come more than once the first."""
        found: dict[str, str] = {}
        for wanted, name in self._headers:
            for field, value in headers:
                if field == wanted:
                    found[name] = value[:VALUE_CHARS].decode("latin-1")
                    break
        return found

    def flush(self) -> None:
        """Hand over what was gathered, and count."""
        file, writer = self.file, self._writer
        file.flush()
        if file.problem:
            self._trouble.say("access log cannot be written", file.problem, path=file.path)
        written, lost = file.news()
        writer.add_worker(W_LOGGED, written)
        writer.add_worker(W_LOG_DROPPED, self._dropped + lost)
        self._dropped = 0

    def close(self, timeout_s: float = 0.0) -> None:
        """Write what is left."""
        self.file.close(timeout_s)
        self.flush()


def adopt(settings: Settings | None, writer: Writer, previous: AccessLog | None) -> AccessLog | None:
    """The log that settings ask for; the previous one goes on if they are the same, and its file if that is."""
    if previous is not None and previous.settings == settings:
        return previous
    log = None if settings is None else AccessLog(settings, writer, previous)
    if previous is not None and (log is None or log.file is not previous.file):
        previous.close()
    return log


def moment(ago_s: float) -> str:
    """The time some seconds ago, to the millisecond."""
    return datetime.fromtimestamp(time() - ago_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

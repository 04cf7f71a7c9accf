"""What is written of requests, one line each."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.values.matching import HeaderName
from config.values.names import Text
from config.values.numbers import Percent, whole
from config.values.section import Section


class AccessLog(Section):
    """What is written of requests, as one JSON object a line. No request ever waits for it: lines are gathered in
    memory, written by a thread, and dropped and counted where that cannot keep up.
    """

    path: Text = "/dev/stdout"
    """A file, /dev/stdout or /dev/stderr. A file is appended to, with mode 0640, and opened again when it was renamed
    or removed, so that logrotate needs no signal."""

    percent: Percent = 1.0
    """How many of the requests are written; each is drawn by itself."""

    errors_always: bool = True
    """Whether requests that failed, on whatever side, and answers of status 500 and above are all written."""

    headers: Annotated[tuple[HeaderName, ...], Field(max_length=32)] = ("user-agent",)
    """Header fields of requests whose values are written, up to 256 characters each. All others are not, and bodies
    never are."""

    query: bool = False
    """Whether the path is written with its parameters, which often name people or hold secrets."""

    max_buffer_bytes: Annotated[int, whole(1 << 16, 1 << 30)] = 4 << 20
    """Bytes of lines that may wait in a worker, while a disk or a reader of standard output is slow."""

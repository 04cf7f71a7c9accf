"""What the supervisor says: JSON lines on standard error, one event each. Standard library only."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Final

_LOG: Final = logging.getLogger("understudy.supervisor")
_FIELDS: Final = "understudy_fields"


def log_to_stderr(level: str) -> None:
    """Begin to write what is of this level or above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    _LOG.addHandler(handler)
    _LOG.setLevel(level.upper())
    _LOG.propagate = False


def say(level: int, event: str, **fields: object) -> None:
    """One event, with its facts."""
    _LOG.log(level, event, extra={_FIELDS: fields})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "at": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": "supervisor",
            "pid": record.process,
            "event": record.getMessage(),
        }
        return json.dumps(line | getattr(record, _FIELDS, {}))

"""Truths from a file to the admin API, for the command line: batch after batch, and what became of them.

Sending a file twice is harmless: what counted is a duplicate the second time. So whoever is cut off sends it again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from proxy.admin.client import Client, RefusedError

BATCH_RECORDS: Final = 2000
BATCH_BYTES: Final = 512 << 10
"""Half of what a request may have."""
PROBLEMS_SHOWN: Final = 20
_TRIES: Final = 30
"""How often a request is sent again, a second apart, where the API says that it has too much to do."""
_HARMLESS: Final = ("duplicate",)


@dataclass(slots=True)
class Told:
    """What became of the truths of a file. `problems` name lines of it, from 1."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all of them count now."""
        return not any(count for reason, count in self.refused.items() if reason not in _HARMLESS)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"accepted": self.accepted, "refused": dict(self.refused), "problems": self.problems}

    def lines(self) -> Iterator[str]:
        """For people."""
        refused = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.items() if count)
        yield f"{self.accepted:,} accepted" + (f"; refused: {refused}" if refused else "")
        for problem in self.problems:
            yield f"line {problem['line']}: {problem['reason']}: {problem['detail']}"


def tell(client: Client, file: BinaryIO, sleep: Callable[[float], None] = time.sleep) -> Told:
    """Tell the truths of a file, one record on each line."""
    found = Told()
    for numbers, lines in _batches(file):
        answer = _sent(client, b"".join(lines), sleep)
        found.accepted += answer["accepted"]
        found.refused.update(answer["refused"])
        for problem in answer["problems"][: PROBLEMS_SHOWN - len(found.problems)]:
            line = numbers[problem["record"]]
            found.problems.append({"line": line, "reason": problem["reason"], "detail": problem["detail"]})
    return found


def _sent(client: Client, lines: bytes, sleep: Callable[[float], None]) -> dict[str, Any]:
    for _ in range(_TRIES):
        try:
            return client.feedback(lines)
        except RefusedError as error:
            if not str(error.problem.get("type", "")).endswith(":too-many-truths"):
                raise
        sleep(1.0)
    return client.feedback(lines)


def _batches(file: Iterable[bytes]) -> Iterator[tuple[list[int], list[bytes]]]:
    """Lines that are not empty, with their numbers."""
    numbers: list[int] = []
    lines: list[bytes] = []
    size = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        if lines and (len(lines) >= BATCH_RECORDS or size + len(line) > BATCH_BYTES):
            yield numbers, lines
            numbers, lines, size = [], [], 0
        numbers.append(number)
        lines.append(line.rstrip(b"\r\n") + b"\n")
        size += len(line)
    if lines:
        yield numbers, lines

"""What was captured of a route, as the admin API is told it, with hostile texts where texts come from outside."""

from __future__ import annotations

from typing import Any, Final

from proxy.control.storage.errors import StoreError

STARTED_S: Final = 1_800_000_000.0
HOSTILE: Final = "\x1b[31mred\x07 \u202eback\x9b2J [bold]<script>alert(1)</script>"
KINDS: Final = ((9, "disagreement"), (8, "error"), (7, "sample"), (6, "sample"))


class FakeCaptures:
    """What was captured of one route."""

    def __init__(self) -> None:
        self.found = {"fraud": [capture_document(number, kind) for number, kind in KINDS]}
        self.kept = {("fraud", "sample"): 7, ("fraud", "error"): 2}
        self.dropped = {("fraud", "store"): 3}
        self.forgotten: list[tuple[str, str]] = []
        self.error = ""

    async def page(
        self, route: str, kind: str | None, limit: int, before: int | None
    ) -> tuple[list[dict[str, Any]], bool]:
        if self.error:
            raise StoreError(self.error)
        found = [each for each in self.found.get(route, ()) if kind in (None, each["kind"])]
        found = [each for each in found if before is None or each["id"] < before]
        return found[:limit], len(found) > limit

    async def forget(self, route: str, actor: str) -> int:
        if self.error:
            raise StoreError(self.error)
        self.forgotten.append((route, actor))
        return len(self.found.pop(route, ()))


def capture_document(number: int, kind: str) -> dict[str, Any]:
    """A captured request, with hostile texts where texts come from outside."""
    body = {
        "bytes": 40,
        "type": "application/json",
        "value": {"note": HOSTILE, "rows": [1, None]},
        "cut": True,
        "why": "",
    }
    none = {"bytes": 9, "type": "", "value": None, "cut": False, "why": "not JSON"}
    answer = {"backend": "fraud-v1", "role": "stable", "status": 200, "fault": "", "latencyMs": 12.3,
              "headers": {"x-model": HOSTILE}, "body": body}  # fmt: skip
    other = answer | {"backend": "fraud-v2", "role": "shadow", "status": 0, "fault": "request-timeout", "body": none}
    return {
        "id": number, "at": STARTED_S + number, "kind": kind, "attempts": 1,
        "differs": ["label"] if kind == "disagreement" else [],
        "request": {"method": "POST", "path": HOSTILE, "headers": {"x-request-id": HOSTILE}, "body": body},
        "answers": [answer, other] if kind == "disagreement" else [answer],
    }  # fmt: skip

"""Captured requests on a terminal: the request and its answers, side by side.

All of it are texts of strangers: what a terminal would obey is written as its code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.admin import console, words

Json = dict[str, Any]
LINES: Final = 60
"""Of a body; `--json` prints all of it."""
_REQUEST_ID: Final = "x-request-id"


def captures(page: Json) -> RenderableType:
    """A page of them, oldest first, so that the newest stands where the eye is."""
    found = page["captures"]
    if not found:
        return Text("nothing is captured")
    parts = [_capture(each) for each in reversed(found)]
    if page["nextBefore"] is not None:
        parts.append(Text(f"there may be older ones: --before {page['nextBefore']}"))
    return Group(*parts)


def _capture(each: Json) -> RenderableType:
    request, answers = each["request"], each["answers"]
    said = [f"{each['kind']} {each['id']}", words.moment(each["at"]), request["method"]]
    said += [request["path"]] if request["path"] is not None else []
    said += [f"id {request['headers'][_REQUEST_ID]}"] if _REQUEST_ID in request["headers"] else []
    said += [f"{each['attempts']} attempts"] if each["attempts"] > 1 else []
    said += [f"differs in {', '.join(each['differs'])}"] if each["differs"] else []
    table = console.table_of("", "Request", *(f"{one['role']} {one['backend']}".strip() for one in answers),
                             title=words.visible("  ".join(said)))  # fmt: skip
    table.add_row("status", "", *(Text(_status(one), "red" if _failed(one) else "") for one in answers))
    table.add_row("latency", "", *(f"{words.plain(one['latencyMs'])} ms" for one in answers))
    _fields(table, [request["headers"], *(one["headers"] for one in answers)])
    table.add_row("body", *(Text(_body(one["body"])) for one in (request, *answers)))
    return table


def _status(one: Json) -> str:
    return words.visible(f"{one['status'] or words.NOTHING} {one['fault']}".strip())


def _failed(one: Json) -> bool:
    return bool(one["fault"]) or one["status"] >= 500


def _fields(table: Table, headers: Sequence[dict[str, str]]) -> None:
    for name in sorted({name for fields in headers for name in fields if name != _REQUEST_ID}):
        table.add_row(words.visible(name), *(Text(words.visible(fields.get(name, ""))) for fields in headers))


def _body(body: Json) -> str:
    """What there is of a body, and what is to be said of the rest."""
    size = f"{words.count(body['bytes'])} bytes {words.visible(body['type'])}".strip()
    if body["why"]:
        return f"{size}: {body['why']}"
    if body["value"] is None:
        return size
    lines = json.dumps(body["value"], indent=1, ensure_ascii=False).split("\n")
    shown = [words.visible(line) for line in lines[:LINES]]
    if len(lines) > LINES:
        shown.append(f"… {len(lines) - LINES} more lines: --json")
    if body["cut"]:
        shown.append("… and elements that were not kept")
    return "\n".join([size, *shown])

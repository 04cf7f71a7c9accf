"""The part of a report that is about pairs: both answers to the same requests."""

from __future__ import annotations

from typing import Any, Final

from proxy.admin.markdown import safe, table
from proxy.admin.words import count, part

Json = dict[str, Any]
CONFUSION_SHOWN: Final = 12


def pairs(route: Json) -> list[list[str]]:
    """Pairs, of several candidates those of each."""
    if not route["candidates"]:
        return [_pairs(route)]
    return [_pairs(each, f" of {safe(each['name'])}") for each in route["candidates"]]


def _pairs(route: Json, of: str = "") -> list[str]:
    found = route["pairs"]
    if not found or not found["compared"]:
        return []
    lines = [f"## Pairs{of}", "", f"{count(found['compared'])} requests were answered by both versions and compared."]
    for output, pair in found["outputs"].items():
        lines += ["", f"### {safe(output)}: {part(pair['disagreed'], pair['compared'])} disagree"]
        if pair["repeated"]:
            own, asked = part(pair["stableDisagreed"], pair["repeated"]), count(pair["repeated"])
            lines += ["", f"Of {asked} requests that stable was asked twice it differs from itself in {own}."]
        if pair.get("confusion") and pair["confusion"]["rows"]:
            lines += ["", *_confusion(pair["confusion"])]
    return lines


def _confusion(confusion: Json) -> list[str]:
    labels, cells = confusion["rows"], confusion["cells"]
    traffic = [sum(cells[i]) + sum(row[i] for row in cells) for i in range(len(labels))]
    kept = sorted(sorted(range(len(labels)), key=lambda i: -traffic[i])[:CONFUSION_SHOWN])
    head = ("stable ↓ candidate →", *(safe(labels[i]) for i in kept))
    rows = [(safe(labels[i]), *(_cell(cells[i][j], i == j) for j in kept)) for i in kept]
    lines = table(head, rows, numbers=range(1, len(head)))
    if len(kept) < len(labels):
        lines += ["", f"The {CONFUSION_SHOWN} most frequent of {len(labels)} labels."]
    return lines


def _cell(number: float, agrees: bool) -> str:
    return count(number) if agrees or not number else f"**{count(number)}**"

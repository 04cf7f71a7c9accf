"""docs/configuration.md, rendered from the one definition of every setting, so that it cannot lag behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from config.jsonschema import schema_json
from config.keys import places

__all__ = ["EXAMPLES", "NAMES", "reference_markdown", "schema_json"]

EXAMPLES: Final = Path(__file__).with_name("examples")
"""The folder of whole files."""
NAMES: Final = (
    "canary", "ramp", "ab-n", "baseline", "blue-green", "recreate", "rolling-update", "rehearsal", "ab-test", "weights",
    "mirror", "captures",
)  # fmt: skip
"""Of whole files, in the order in which they are shown."""

_HEAD: Final = """\
<!-- Made by `understudy schema --markdown`. Edit the docstrings in config/, then run it again. -->
# Configuration

One YAML file holds all settings. `understudy validate FILE` reports all problems of a file at once, each with line,
place and remedy. A running Understudy watches its file: a good edit is live within a second and cuts no connection, a
bad one is refused and changes nothing. The addresses of `listen` and `admin`, `store.url`, `workers`,
`drainDelay` and `drainTimeout` need a restart.

The file is intent. How far a rollout has come is kept in the store, and an edit does not set it back, unless the
candidate itself or its steps change: that begins a new rollout with fresh evidence.

For completion and checks while you type, run `understudy schema > understudy.schema.json` and begin the file with
`# yaml-language-server: $schema=understudy.schema.json`.

## Notation

- Keys are camelCase. An unknown key is an error, never ignored.
- Scalars follow YAML 1.2: `yes`, `on`, `1:30` and dates are text. A number that is meant as text needs quotes.
- A duration is whole numbers with the units h, m, s and ms: `1h30m`, `10s`, `500ms` (Gateway API, GEP-2257).
- A percent is a number from 0 to 100 with up to four decimals: `setWeight: 0.5` is one request in two hundred.
- A margin carries its unit: `%` is relative to stable, `pp` is percentage points, `sd` is standard deviations of
  stable. Of a list the larger counts: `[20%, 0.2pp]` allows 20 % more errors, or 0.2 points if that is more.
- `weight` is relative to the other weights beside it; `setWeight` is a percent.
- Aliases (`*name`) work; merge keys (`<<`) and tags do not.

## What is checked across the file

- Names are unique, and every name that is referred to exists. A route that an earlier one hides is an error.
- A route with a strategy has one stable and one canary version, and no weights of its own: the strategy sets them.
- A route without a strategy gives each of several versions a `weight`.
- A canary has `steps` or a `ramp`.
- Weights rise from step to step and stay below 100: promotion does the last step, once every guardrail is passed.
- There is a guardrail among the metrics of a strategy that waits for proof, and each can be passed: no margin of zero,
  no `pair` metric without copies before it, no output that is not declared under `predictions`.
- A mirror with `repeat` stands in a route with `predictions`: without them there is nothing to compare.
- The waits of the steps fit within `analysis.maxDuration`.
- Versions that a strategy starts, as `recreate` and `rollingUpdate` do, have a `healthCheck`.
- A `rollingUpdate` has as many endpoints of both versions, leaves at least one to serve, has a place to start at (away,
  or spare), and is the only one that replaces them.
"""


def reference_markdown() -> str:
    """The whole of docs/configuration.md."""
    parts = [_HEAD, "## Examples\n"]
    for name in NAMES:
        text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        parts.append(f"{title}\n\n```yaml\n{text.partition(chr(10))[2]}```\n")
    parts.append("## Settings\n")
    alike: dict[str, list[str]] = {}
    for place, schema in places():
        alike.setdefault(_section(schema), []).append(f"`{place}`" if place else "Top of the file")
    parts += [f"### {', '.join(titles)}\n\n{section}" for section, titles in alike.items()]
    return "\n".join(parts)


def _section(schema: dict[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    rows = [_row(key, value, key in needed) for key, value in schema["properties"].items()]
    lines = [
        f"{_line(schema.get('description', ''))}\n",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"


def _row(key: str, value: dict[str, Any], needed: bool) -> str:
    default = "required" if needed else f"`{_flow(value['default'])}`" if "default" in value else ""
    cells = (f"`{key}`", _kind(value), default, _line(value.get("description", _described(value))))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(value: dict[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in value:
        return "mapping"
    if "items" in value:
        return f"list of {_kind(value['items'])}"
    if "prefixItems" in value:
        return "[lowest, highest]"
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    if "const" in value:
        return f"`{_flow(value['const'])}`"
    if "title" in value:
        return str(value["title"])
    if isinstance(value.get("additionalProperties"), dict):
        inner = value["additionalProperties"]
        return f"mapping of name to {_kind(inner) if 'enum' in inner else 'text or string match'}"
    return next(_forms(value), {"string": "text"}.get(str(value.get("type")), str(value.get("type", "value"))))


def _forms(value: dict[str, Any]) -> Iterator[str]:
    for form in value.get("anyOf", ()):
        yield _kind(form)


def _described(value: dict[str, Any]) -> str:
    name = str(value.get("$ref", "")).rpartition("/")[2]
    return str(schema_json()["$defs"].get(name, {}).get("description", ""))


def _line(text: str) -> str:
    return " ".join(text.split())


def _flow(value: object) -> str:
    """A value as YAML writes it in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return f"[{', '.join(map(_flow, value))}]"
        case dict():
            inner = ", ".join(f"{key}: {_flow(item)}" for key, item in value.items() if item is not None)
            return f"{{{inner}}}"
        case float() if value.is_integer():
            return f"{value:.0f}"
        case _:
            return f"{value}"

"""Refusals of the schema in plain words: what stands there, what is wanted, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.document import Document
from config.keys import homes, known_keys, meant
from config.masking import is_secret, may_be_meant_as_secret
from config.values.problems import Finding, Loc, shown
from config.values.section import REFUSED

_DICT_KEY: Final = "[key]"
"""What pydantic adds to a place to say that a key of a mapping is meant."""
_WANTED: Final = {
    "string": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping (key: value)",
    "model": "a mapping (key: value)",
}


def findings_of(error: ValidationError, document: Document) -> list[Finding]:
    """What a refusal says, in plain words. A missing key that is there misspelt is told once, as the misspelling."""
    errors = error.errors(include_url=False, include_input=True)
    unknown = {_loc(item): meant(str(item["loc"][-1]), _loc(item)[:-1]) for item in errors if _is(item, "extra")}
    misspelt = {(*loc[:-1], key) for loc, key in unknown.items() if key is not None}
    return list(_findings(errors, misspelt, unknown, document))


def _findings(
    errors: Iterable[ErrorDetails], misspelt: set[Loc], unknown: dict[Loc, str | None], document: Document
) -> Iterator[Finding]:
    for item in errors:
        loc = _loc(item)
        if _is(item, "extra"):
            yield _unknown_key(loc, unknown[loc])
        elif _is(item, "missing"):
            if isinstance(loc[-1], int):
                yield Finding(loc[:-1], "has too few parts", _hint(loc[:-1], "a list"))
            elif loc not in misspelt:
                yield Finding(loc, "is missing", _add(loc))
        elif item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # its parts were refused and not counted: each has its own error
        else:
            message, remedy = _words(item, loc, document)
            yield Finding(loc, message, remedy, on_key=_on_key(item))


def _loc(item: ErrorDetails) -> Loc:
    return item["loc"][:-1] if _on_key(item) else item["loc"]


def _on_key(item: ErrorDetails) -> bool:
    return item["loc"][-1:] == (_DICT_KEY,) and not _is(item, "extra")


def _is(item: ErrorDetails, kind: str) -> bool:
    return item["type"] == {"extra": "extra_forbidden", "missing": "missing"}[kind]


def _unknown_key(loc: Loc, close: str | None) -> Finding:
    key, known = str(loc[-1]), list(known_keys(loc[:-1]))
    places = [place for place in homes(key) if not place.endswith(".secret")]  # its keys are words of every day
    if close is not None:
        remedy = f"did you mean {close}?"
    elif places:
        where = " and ".join(f"`{place}`" if place else "the top of the file" for place in places[:3])
        remedy = f"it belongs in {where}: check the indentation"
    else:
        remedy = f"the keys here are {', '.join(known)}" if len(known) > 1 else f"the only key here is {known[0]}"
    return Finding(loc, "unknown key", remedy, on_key=True)


def _add(loc: Loc) -> str:
    key = str(loc[-1])
    example = _example(loc)
    return f"add it, for example `{key}: {example}`" if example else f"add `{key}:` here"


def _example(loc: Loc) -> str:
    if not loc or isinstance(loc[-1], int):
        return ""
    described = known_keys(loc[:-1]).get(str(loc[-1]), {})
    examples = described.get("examples") or []
    return str(examples[0]) if examples else ""


def _words(item: ErrorDetails, loc: Loc, document: Document) -> tuple[str, str]:
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    raw = document.place(loc).text if loc in document.places else None
    found = raw if raw is not None and not isinstance(value, str) and value is not None else shown(value)
    match kind:
        case _ if kind == REFUSED:
            return str(context["message"]), str(context["remedy"])
        case "string_type" if value is not None and is_secret(loc):
            return "is not text", "put it in quotes"
        case "string_type" if raw and value is not None:
            return f"{raw} is not text", f'put it in quotes: "{raw}"'
        case "literal_error":
            return f"{found} is not allowed", f"give {_choices(loc, context)}"
        case "too_short":
            if item["input"] == ():
                return "is empty", f"give at least {context['min_length']}"
            return f"has {context['actual_length']} parts", f"give at least {context['min_length']}"
        case "too_long":
            return f"has {context['actual_length']} parts", f"give at most {context['max_length']}"
        case _:
            wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
            if wanted is None:
                return f"{found} is not accepted here", _hint(loc, "")
            if raw is not None and "\u00a0" in raw:
                return (
                    "has a no-break space (U+00A0), which YAML takes for a letter",
                    "write an ordinary space in its place",
                )
            if isinstance(value, str) and may_be_meant_as_secret(loc):
                found = "text"
            what = "is empty" if value is None else f"is {found}"
            return f"{what}, where {wanted} is wanted", _hint(loc, wanted)


def _choices(loc: Loc, context: dict[str, Any]) -> str:
    where = known_keys(loc[:-1]).get(str(loc[-1]), {}) if loc else {}
    options = where.get("enum", [where["const"]] if "const" in where else [])
    if not options:
        return str(context.get("expected", "another value")).replace("'", "")
    *first, last = [shown(option).strip('"') for option in options]
    return f"{', '.join(first)} or {last}" if first else last


def _hint(loc: Loc, wanted: str) -> str:
    example = _example(loc)
    if wanted == "a list":
        return f"write `{loc[-1]}: {example}`" if example.startswith("[") else "begin each item with `- `, or write [ ]"
    if example:
        return f"write for example `{loc[-1]}: {example}`"
    keys = ", ".join(known_keys(loc))
    if not keys:
        return "see `understudy schema --markdown` for what it may be"
    return f"write its keys below it, indented: {keys}" if loc else f"begin with the keys {keys}"

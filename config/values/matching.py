"""Which requests a route takes, and what makes a user of it the same user next time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from config.values.names import Text, token
from config.values.problems import Finding, shown
from config.values.section import OneKey, Parsed, Section, refusal, refusals

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

HeaderName = Annotated[str, token("the name of a header field")]
CookieName = Annotated[str, token("the name of a cookie")]


# --- how a text must look


@dataclass(frozen=True, slots=True)
class StringMatch:
    """How a text must look. A prefix of a path matches whole segments; a regex must match the whole text."""

    kind: Literal["exact", "prefix", "regex"]
    value: str


class _StringMatch(OneKey):
    """How a text must look: exactly one of the three."""

    model_config = ConfigDict(title="string match")

    exact: Text | None = None
    """The text as a whole."""

    prefix: Text | None = None
    """What the text begins with. Of a path by whole segments: `/a` matches `/a` and `/a/b`, and not `/ab`."""

    regex: Text | None = None
    """A regular expression of Python that must match the whole text. Do not nest quantifiers, as in `(a+)+`: clients
    choose the text, and the time to match it can grow without bound."""


def _string_match(form: _StringMatch) -> StringMatch:
    match form:
        case _StringMatch(exact=str(text)):
            return StringMatch("exact", text)
        case _StringMatch(prefix=str(text)):
            return StringMatch("prefix", text)
    text = str(form.regex)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        finding = Finding(
            ("regex",), f"{shown(text)} is not a regular expression: {error}", "correct it, or use prefix"
        )
        raise refusals(finding) from error
    return StringMatch("regex", text)


def _path_match(form: _StringMatch) -> StringMatch:
    match = _string_match(form)
    if match.kind != "regex" and not match.value.startswith("/"):
        raise refusals(Finding((match.kind,), f"{shown(match.value)} does not begin with /", f"write /{match.value}"))
    if match.kind != "regex" and re.search(r"[?#\s]", match.value):
        raise refusals(
            Finding((match.kind,), f"{shown(match.value)} is more than a path", "match parameters by `query`")
        )
    return match


def _as_exact(value: object) -> object:
    if isinstance(value, int | float):
        raise refusal(f"{shown(value)} is not text", f'put it in quotes: "{shown(value)}"')
    return {"exact": value} if isinstance(value, str) else value


def _show_match(match: StringMatch) -> dict[str, str]:
    return {match.kind: match.value}


TextMatch = Annotated[
    StringMatch, Parsed(_string_match, _show_match, {"title": "string match, or a text"}, _StringMatch, _as_exact)
]
PathMatch = Annotated[StringMatch, Parsed(_path_match, _show_match, {}, _StringMatch)]


# --- which requests


def _method(value: str) -> str:
    if value not in _METHODS:
        known = get_close_matches(value.upper(), _METHODS, 1)
        raise refusal(
            f"{shown(value)} is not a method", f"write {known[0] if known else 'one of ' + ', '.join(_METHODS)}"
        )
    return value


Method = Annotated[str, Parsed(_method, str, {"title": "HTTP method", "enum": list(_METHODS)}, str)]


class Match(Section):
    """Conditions that must all hold. Of several matches of a route one must hold."""

    path: PathMatch | None = Field(default=None, examples=["{prefix: /v2/models/fraud}"])
    """The path of the request, without its parameters. It is compared with its percent escapes undone and its repeated
    slashes merged, so that no other way to write a path leads around a route; it is forwarded as it was sent. A path
    with a dot segment (`/../`, `/%2e%2e/`), a backslash or a broken escape is refused with 400."""

    method: Method | None = None
    """The method, in capitals."""

    headers: Mapping[HeaderName, TextMatch] = {}
    """Header fields by name (in any case) that must be there and look so. A plain text means `exact`."""

    query: Mapping[Text, TextMatch] = {}
    """Parameters of the URL by name. A plain text means `exact`."""

    cookies: Mapping[CookieName, TextMatch] = {}
    """Cookies by name. A plain text means `exact`."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: dict[str, str] = {}
        findings = []
        for name in self.headers:
            if name.lower() in seen:
                message = f"is {seen[name.lower()]} in other letters, and case means nothing in header fields"
                findings.append(Finding(("headers", name), message, "keep one of them"))
            seen[name.lower()] = name
        if findings:
            raise refusals(*findings)
        return self

    @property
    def everything(self) -> bool:
        """Whether every request matches."""
        any_path = self.path is None or self.path == StringMatch("prefix", "/")
        return any_path and self.method is None and not (self.headers or self.query or self.cookies)


# --- which user


class AffinityKey(NamedTuple):
    """Where the key of a user is read; `name` is empty for `sourceIp`."""

    source: Literal["header", "cookie", "queryParam", "sourceIp"]
    name: str


class _Source(OneKey):
    """Where the key of a user is read: exactly one of these."""

    model_config = ConfigDict(title="source of a user's key")

    header: HeaderName | None = None
    """The value of this header field."""

    cookie: CookieName | None = None
    """The value of this cookie. The proxy reads cookies that clients have, and sets none."""

    query_param: Text | None = None
    """The value of this parameter of the URL."""

    source_ip: Literal[True] | None = None
    """The address of the client."""


def _affinity_key(form: _Source) -> AffinityKey:
    match form:
        case _Source(header=str(name)):
            return AffinityKey("header", name)
        case _Source(cookie=str(name)):
            return AffinityKey("cookie", name)
        case _Source(query_param=str(name)):
            return AffinityKey("queryParam", name)
        case _:
            return AffinityKey("sourceIp", "")


def _as_source(value: object) -> object:
    if isinstance(value, str):
        if value == "sourceIp":
            return {"sourceIp": True}
        raise refusal(f"{shown(value)} is not a source", "write sourceIp, or a mapping such as {header: x-user-id}")
    return value


def _show_key(key: AffinityKey) -> object:
    return {key.source: key.name} if key.name else "sourceIp"


KeySource = Annotated[
    AffinityKey,
    Parsed(_affinity_key, _show_key, {"title": "sourceIp, or one of header, cookie, queryParam"}, _Source, _as_source),
]


class SessionAffinity(_Source):
    """What makes a user the same user next time: exactly one of header, cookie, queryParam and sourceIp.

    A user keeps to a version: raising the candidate's weight only adds users to it, and lowering it takes away those
    that were added last.
    """

    model_config = ConfigDict(title="session affinity")
    beside: ClassVar[frozenset[str]] = frozenset({"fallback"})

    fallback: tuple[KeySource, ...] = ()
    """What to read where the first is absent, in this order. Where all are absent, each request is drawn by itself."""

    @property
    def keys(self) -> tuple[AffinityKey, ...]:
        """Where to read the key of a user, in order."""
        return (_affinity_key(self), *self.fallback)

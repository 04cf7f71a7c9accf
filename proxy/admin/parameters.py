"""What requests may say: the parameters of a query and the members of a body, each a model.

The same models read requests and describe them in the OpenAPI document. A body may be empty, and so may every member
of it; names that are not known are refused, since `{"ful": true}` means something else than it does.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from config.values.described import Described
from proxy.admin.problems import RefusalError

HISTORY_LIMIT: Final = 100
HISTORY_MOST: Final = 1000
MOST_ID: Final = 2**63 - 1
"""As SQLite counts."""


def digits(value: object) -> object:
    """Whole numbers as people write them: `²`, `1_000` and `1e3` are none."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else -1


class Parameters(Described):
    """Names and values of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class PageQuery(Parameters):
    """Which part of a journal."""

    limit: Annotated[int, Field(ge=1, le=HISTORY_MOST), BeforeValidator(digits)] = HISTORY_LIMIT
    """How many entries at most."""

    before: Annotated[int, Field(ge=1, le=MOST_ID), BeforeValidator(digits)] | None = None
    """Entries with a lower id alone: `nextBefore` of the page before."""


class EventsQuery(Parameters):
    """Where a stream of events goes on; the header Last-Event-ID, which browsers send, counts more."""

    after: Annotated[int, Field(ge=0, le=MOST_ID), BeforeValidator(digits)] | None = None
    """Entries of the journal with a higher id come first. Without it the stream begins with what is new."""


class ReportQuery(Parameters):
    """How a report is written."""

    format: Literal["json", "markdown", "html"] = "json"
    """For machines, or for people: as text, or as a page of its own to keep."""


class WhyQuery(Parameters):
    """Which decision."""

    entry: Annotated[int, Field(ge=1, le=MOST_ID), BeforeValidator(digits)] | None = None
    """The id of its entry in the journal. Without it the last one that was made on evidence."""


class RecordedQuery(Parameters):
    """Where a recording goes on."""

    after: Annotated[int, Field(ge=0, le=MOST_ID), BeforeValidator(digits)] = 0
    """Rows with a higher id alone: `nextAfter` of the page before."""


class VerifyQuery(Parameters):
    """What the journal must hold."""

    expect: Annotated[str, Field(pattern="^([0-9a-f]{8,64})?$")] = ""
    """A hash that was kept elsewhere, from the log or from an earlier look, or how it begins: an entry must have it."""


class NoOptions(Parameters):
    """A command without options."""


class PromoteOptions(Parameters):
    """How far a promotion goes."""

    full: Annotated[bool, Field(strict=True)] = False
    """All traffic to the candidate now, whatever the evidence says."""

    candidate: Annotated[str, Field(strict=True, max_length=63)] = ""
    """Of several candidates the one that is to have it. The others are not chosen."""


class UndoOptions(Parameters):
    """What the journal says of it."""

    reason: Annotated[str, Field(strict=True, max_length=1000)] = ""
    """Why."""


class AbortOptions(UndoOptions):
    """What is aborted, and what the journal says of it."""

    candidate: Annotated[str, Field(strict=True, max_length=63)] = ""
    """Of several candidates the one that leaves the race; the others go on. Without it the whole rollout ends."""


_Model = TypeVar("_Model", bound=Parameters)


def query(request: web.Request, model: type[_Model]) -> _Model:
    """The parameters of a query.

    Raises:
        RefusalError: one is not known, is given twice, or has a value that cannot be used.
    """
    twice = [name for name in request.query if len(request.query.getall(name)) > 1]
    if twice:
        raise RefusalError(400, "bad-parameter", f"{twice[0]}: is given twice; give it once")
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise RefusalError(400, "bad-parameter", _said(error, model, request.query.get)) from error


async def options(request: web.Request, model: type[_Model]) -> dict[str, Any]:
    """The members that a JSON object in the body has, if there is one.

    Raises:
        RefusalError: it is no JSON object, or a member of it cannot be used.
    """
    raw = await request.read()
    if not raw:
        return {}
    try:
        return model.model_validate_json(raw).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        kind = {"json_invalid": "malformed-json", "extra_forbidden": "unknown-member"}.get(first["type"], "bad-member")
        if not first["loc"]:
            detail = f"the body is not usable: {first['msg']}; send a JSON object, or nothing"
            raise RefusalError(400, "malformed-json", detail) from error
        raise RefusalError(400, kind, _said(error, model, None)) from error


def _said(error: ValidationError, model: type[Parameters], given: Any) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(map(to_camel, model.model_fields)) or "none"
        return f"{name!r} is not known here; what is: {known}"
    value = first["input"] if given is None else given(name)
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:79]}…"
    return f"{name}: {shown} is not usable; {first['msg'][:1].lower()}{first['msg'][1:]}"

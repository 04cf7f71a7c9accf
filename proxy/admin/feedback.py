"""Truths in the body of a request: one JSON object, a list of them, or one on each line (NDJSON).

Each record counts or is refused by itself, so that one bad line costs no other. What nobody knows is not guessed: the
id was written before the answer's body was read, so that a truth needs its prediction beside it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from pydantic import ConfigDict, Field, RootModel, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from analysis.feedback import log_loss
from proxy.admin.document import Count, Document
from proxy.admin.parameters import Parameters
from proxy.admin.problems import RefusalError
from proxy.admin.surface import Json
from proxy.control.evidence.feedback import Desk
from proxy.control.evidence.truths import Refusal, Told

NDJSON: Final = "application/x-ndjson"
MOST_RECORDS: Final = 10_000
PROBLEMS_SHOWN: Final = 20
MOST_WAITING: Final = 16
"""Requests with truths that are taken up at once, or wait for their turn."""
READ_S: Final = 30.0
"""How long a body may take: whoever sends it slower keeps a place from others."""
_AT_ONCE: Final = 500
"""Records between two moments at which others have their turn: some 10 ms."""
_SUM_MOST: Final = 1.01
_WORDS: Final[dict[Refusal, str]] = {
    Refusal.FORGED: "no worker of this Understudy has written this id",
    Refusal.STALE: "it is of a rollout or a route that is over, or that takes no feedback",
    Refusal.LATE: "its answer is older than `feedback.window` of the route, or than what is remembered",
    Refusal.DUPLICATE: "a truth about this answer was told before",
}

Label = StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]


class TruthRecord(Parameters):
    """What turned out to be true of one answer."""

    id: Annotated[StrictStr, Field(max_length=200)]
    """`x-understudy-id` of the answer."""

    truth: Label | None = None
    """What is true. It needs `prediction` or `probabilities` beside it."""

    prediction: Label | None = None
    """What the answer said: right if it is the truth."""

    correct: StrictBool | None = None
    """Whether the answer was right, in place of truth and prediction."""

    probabilities: dict[str, Share] | list[Share] | None = None
    """What the answer gave to each label, by label or (where the truth is a whole number) in their order. Without
    `prediction` the most probable is the prediction."""

    log_loss: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] | None = None
    """-ln of the probability that the answer gave to the truth, where probabilities are not told."""


def _each_by_itself(schema: Json) -> None:
    """What fits no record is counted as invalid and costs no other one: nothing else is refused as a whole."""
    one, many = schema["anyOf"]
    many["items"] = {"anyOf": [many["items"], {"description": "refused by itself, as invalid"}]}
    many["description"] = f"Up to {many.pop('maxItems')} of them; more are refused with 413."
    schema["anyOf"] = [one, {"type": "object", "description": "refused, as invalid"}, many]


class Truths(RootModel[TruthRecord | Annotated[list[TruthRecord], Field(max_length=MOST_RECORDS)]]):
    """One truth, or a list of them."""

    model_config = ConfigDict(json_schema_extra=_each_by_itself)


class TruthProblem(Document):
    """Why a truth did not count."""

    record: Count
    """Which, from 0."""
    reason: Refusal
    detail: str


class Refused(Document):
    """Truths that did not count, by reason."""

    invalid: Count
    forged: Count
    stale: Count
    late: Count
    duplicate: Count


class Taken(Document):
    """What became of the truths in a request."""

    accepted: Count
    refused: Refused
    problems: list[TruthProblem]
    """The first of them; duplicates are none."""


def told(record: TruthRecord) -> Told:
    """What a record says.

    Raises:
        ValueError: too little, or two things that cannot both be.
    """
    if record.probabilities is not None and record.log_loss is not None:
        raise ValueError("has both probabilities and logLoss; give one of them")
    shares = _shares(record)
    wrong = _wrong(record, shares)
    loss = None
    if shares and record.truth is not None:
        loss = log_loss(shares[record.truth])
    elif record.log_loss is not None:
        loss = min(max(record.log_loss, log_loss(1.0)), log_loss(0.0))
    if wrong is None and loss is None:
        raise ValueError(
            "has a truth and nothing to hold it against; add `prediction`: the id does not know what was answered"
            if record.truth is not None
            else "says nothing of the answer; give truth and prediction, or correct, or logLoss"
        )
    return Told(wrong, loss)


def _shares(record: TruthRecord) -> Mapping[Label, float]:
    """The probabilities by label; the truth is one of them."""
    given, truth = record.probabilities, record.truth
    if given is None:
        return {}
    kind = str if isinstance(given, dict) else int
    shares: dict[Label, float] = {}
    shares.update(given if isinstance(given, dict) else enumerate(given))
    if truth is None or type(truth) is not kind or truth not in shares:
        known = ", ".join(map(repr, list(shares)[:5])) if kind is str else f"0 to {len(shares) - 1}"
        raise ValueError(
            f"the truth {truth!r} is none of the labels with a probability ({known}); give it one, maybe 0"
        )
    if sum(shares.values()) > _SUM_MOST:
        raise ValueError(f"its probabilities add up to {sum(shares.values()):g}, which is more than 1")
    return shares


def _wrong(record: TruthRecord, shares: Mapping[Label, float]) -> bool | None:
    truth, prediction = record.truth, record.prediction
    wrong = None
    if prediction is not None:
        if truth is None:
            raise ValueError("has a prediction and no truth; add `truth`, or say with `correct` whether it was right")
        if _kind(truth) != _kind(prediction):
            raise ValueError(f"the truth is {_kind(truth)} and the prediction {_kind(prediction)}: write both alike")
        wrong = truth != prediction
    elif shares:
        wrong = max(shares, key=shares.__getitem__) != truth
    if record.correct is None:
        return wrong
    if wrong is not None and wrong == record.correct:
        raise ValueError(f"correct is {str(record.correct).lower()}, and truth and prediction say otherwise")
    return not record.correct


def _kind(label: Label) -> str:
    return "true or false" if isinstance(label, bool) else "a text" if isinstance(label, str) else "a number"


class Intake:
    """Takes what requests bring to the desk, one request after the other."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._turn, self._waiting = desk, asyncio.Lock(), 0

    async def take(self, request: web.Request) -> Json:
        """Tell the desk all truths of a request; how many counted, and what is wrong with the others.

        Raises:
            RefusalError: the body is no truth at all, or has too many; or too many requests wait.
            StoreError: nobody knows what is judged; of this request some may have been taken before.
        """
        if self._waiting >= MOST_WAITING:
            detail = f"{MOST_WAITING} requests with truths wait already; send larger ones, one after the other"
            raise RefusalError(429, "too-many-truths", detail, headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            raw = await _body(request)
            async with self._turn:
                return await self._tell(_records(raw, request.content_type))
        finally:
            self._waiting -= 1

    async def _tell(self, records: Sequence[Any]) -> Json:
        accepted, refused, problems = 0, Counter[str](), list[Json]()
        for begin in range(0, len(records), _AT_ONCE):
            for place, reason, detail in self._some(begin, records[begin : begin + _AT_ONCE]):
                if reason is None:
                    accepted += 1
                    continue
                refused[reason] += 1
                if len(problems) < PROBLEMS_SHOWN and reason is not Refusal.DUPLICATE:
                    problems.append({"record": place, "reason": str(reason), "detail": detail})
            await asyncio.sleep(0)
        return {"accepted": accepted, "refused": {str(one): refused[one] for one in Refusal}, "problems": problems}

    def _some(self, begin: int, records: Sequence[Any]) -> Iterator[tuple[int, Refusal | None, str]]:
        usable: list[tuple[int, str, Told]] = []
        for place, record in enumerate(records, start=begin):
            try:
                if isinstance(record, Exception):
                    raise ValueError(f"is no JSON: {record}")
                read = TruthRecord.model_validate(record)
                usable.append((place, read.id, told(read)))
            except ValidationError as error:
                yield place, self._desk.refuse(Refusal.INVALID), _said(error)
            except ValueError as error:
                yield place, self._desk.refuse(Refusal.INVALID), str(error)
        found = self._desk.tell([(text, what) for _, text, what in usable])
        for (place, _, _), reason in zip(usable, found, strict=True):
            yield place, reason, "" if reason is None else _WORDS[reason]


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_S):
            return await request.read()
    except TimeoutError as error:
        detail = f"the body was not there within {READ_S:g} s; send less at once"
        raise RefusalError(408, "slow-body", detail, headers={"Connection": "close"}) from error


def _records(raw: bytes, content_type: str) -> Sequence[Any]:
    """The records of a body; a line that is no JSON is the error of it."""
    if content_type == NDJSON:
        lines = [line for line in raw.splitlines() if line.strip()]
        records: list[Any] = lines
        if len(lines) <= MOST_RECORDS:  # to read half a million short ones takes a while
            records = [_decoded(line) for line in lines]
    else:
        body = _decoded(raw)
        if not isinstance(body, dict | list):
            detail = f"the body is no truth; send a JSON object, a list of them, or lines of them as {NDJSON}"
            raise RefusalError(400, "malformed-json", detail)
        records = body if isinstance(body, list) else [body]
    if len(records) > MOST_RECORDS:
        detail = f"{len(records)} records are too many for one request; send up to {MOST_RECORDS}"
        raise RefusalError(413, "too-many-records", detail)
    return records


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return error


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    if not first["loc"]:
        return "is no JSON object"
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(str(field.alias) for field in TruthRecord.model_fields.values())
        return f"{name!r} is not known here; what is: {known}"
    return f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}"

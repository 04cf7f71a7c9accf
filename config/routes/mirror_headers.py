"""What is changed in the header of a copy, in the words of the Gateway API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from config.values.matching import HeaderName
from config.values.problems import Finding, Loc
from config.values.section import SECRET, Parsed, Section, refusal, refusals

_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")
_OURS: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-understudy-shadow",
    )
)
"""Fields that belong to the connection or the framing, or tell a copy from a live request."""


def _value(value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise refusal(
            "is not the value of a header field",
            "write 1 to 1024 characters of ASCII, with no space at the ends",
        )
    return value


# A value that is sent may be a credential.
FieldValue = Annotated[str, Parsed(_value, str, {"title": "text", **SECRET}, form=str)]


class MirrorHeaders(Section):
    """What is changed in the header of a copy."""

    set: Annotated[Mapping[HeaderName, FieldValue], Field(max_length=16)] = {}
    """Fields that a copy has with this value, whatever the request had, such as a tenant that is not billed."""

    remove: Annotated[tuple[HeaderName, ...], Field(max_length=16)] = ()
    """Fields that a copy goes without, such as authorization and cookie."""

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        names: list[tuple[Loc, str]] = [(("set", name), name) for name in self.set]
        names += [(("remove", place), name) for place, name in enumerate(self.remove)]
        findings = [
            Finding(loc, f"{name} is written by the proxy itself", "take it away")
            for loc, name in names
            if name.lower() in _OURS
        ]
        if findings:
            raise refusals(*findings)
        return self

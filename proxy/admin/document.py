"""What the models of all answers have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from config.values.described import Described

Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
Moment = Annotated[float, Field(description="Seconds since 1970 (UTC).")]


class Document(Described):
    """A JSON object."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, defer_build=True)

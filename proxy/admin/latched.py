"""What the admin API answers of a version that stays out of a route."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from config.values.described import Described


class Latched(Described):
    """A version that gets nothing of a route until an operator retries it while the file has it, however the file is
    edited meanwhile."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, defer_build=True)

    name: str
    digest: str
    """Of its name, endpoints and `version`: another one is another version."""
    verdict: Literal["Failed", "Inconclusive"]
    """`Failed`: found to do harm. `Inconclusive`: it was taken out, or could not be decided."""
    decided_by: str
    reason: str
    at: Annotated[float, Field(description="Seconds since 1970 (UTC).")] | None

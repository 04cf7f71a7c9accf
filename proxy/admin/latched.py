"""What the admin API answers of a version that stays out of a route."""

from __future__ import annotations

from typing import Literal

from proxy.admin.document import Document, Moment


class Latched(Document):
    """A version that gets nothing of a route until an operator retries it while the file has it, however the file is
    edited meanwhile."""

    name: str
    digest: str
    """Of its name, endpoints and `version`: another one is another version."""
    verdict: Literal["Failed", "Inconclusive"]
    """`Failed`: found to do harm. `Inconclusive`: it was taken out, or could not be decided."""
    decided_by: str
    reason: str
    at: Moment | None

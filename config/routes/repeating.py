"""How often stable is asked the same again, so that the model's own noise is known."""

from __future__ import annotations

from pydantic import Field

from config.values.numbers import Percent
from config.values.section import Section


class Repeat(Section):
    """A second request to the version that answered, so that its answers can be compared with themselves."""

    percent: Percent = Field(examples=[10])
    """For how many of the copies. A tenth is usually best: the load of that version grows by so much of what is copied,
    and from a half on more tells no more of most metrics."""

"""Where clients come in, and how what they say of themselves is taken."""

from __future__ import annotations

from pydantic import Field

from config.addresses import AddressAt
from config.section import Section


class Listen(Section):
    """Where clients come in."""

    address: AddressAt = Field(examples=["0.0.0.0:8080"])
    """Host and port; port 0 takes any free one. A change needs a restart."""

    @property
    def place(self) -> str:
        """What a socket is opened by: it cannot change while it is open."""
        return str(self.address)

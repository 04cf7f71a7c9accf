"""What the admin API needs of the controller, and nothing else of it.

The controller satisfies `Controls` by its shape alone, and so does the fake that the tests of this package use.
Values are the JSON documents that the API answers with (keys in camelCase); `docs/admin-api.md` shows them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from config.files import Contents
from config.listeners.access import Admin
from proxy.control.evidence.feedback import Desk
from proxy.control.machine.verbs import Verb
from proxy.ledger.reader import Reader, Totals

Json = dict[str, Any]


class RowView(Protocol):
    """A row of the ledger and what it is lent to."""

    @property
    def route(self) -> str:
        """The route's name."""

    @property
    def backend(self) -> str:
        """The backend's name."""

    @property
    def role(self) -> str:
        """stable, canary or shadow."""

    @property
    def index(self) -> int:
        """The row's number."""

    @property
    def tenant(self) -> int:
        """The number of the stage that the row is lent to."""


class Records(Protocol):
    """What the store remembers. Everything raises StoreError where it cannot be read."""

    async def history(self, route: str, limit: int, before: int | None) -> list[Json]:
        """The last journal entries of a route, newest first, with an id below `before`."""

    async def journal(self, limit: int, before: int | None) -> list[Json]:
        """The last journal entries, newest first, with an id below `before`."""

    async def journal_after(self, after: int, limit: int) -> list[Json]:
        """The first journal entries with an id above `after`, oldest first."""

    async def verify(self, expected: str) -> Json:
        """Whether the chain of the journal holds."""

    async def recordings(self, route: str) -> list[Json]:
        """The rollouts of a route of which slices are kept, the oldest first."""

    async def recorded(self, route: str, run: int, after: int) -> Json:
        """Rows of recorded slices, those above an id."""

    async def why(self, route: str, entry: int | None) -> Json | None:
        """What a decision was made on, and whether this release decides the same; None if there is none."""


class Captures(Protocol):
    """Captured requests. Both questions raise StoreError where the store cannot be used."""

    @property
    def kept(self) -> Mapping[tuple[str, str], int]:
        """How many were kept since the start, by route and kind."""

    @property
    def dropped(self) -> Mapping[tuple[str, str], int]:
        """How many the controller could not keep, by route and reason."""

    async def page(self, route: str, kind: str | None, limit: int, before: int | None) -> tuple[list[Json], bool]:
        """Those of a route, the newest first, with an id below `before`; and whether there are more."""

    async def forget(self, route: str, actor: str) -> int:
        """Take away all of a route; how many."""


class Controls(Protocol):
    """The controller as the admin API sees it. All methods are called from the controller's own loop."""

    @property
    def reader(self) -> Reader:
        """The ledger."""

    @property
    def ready(self) -> bool:
        """Whether a configuration is loaded and workers serve it."""

    @property
    def draining(self) -> bool:
        """Whether all of this is about to end."""

    @property
    def config_text(self) -> str:
        """The configuration that is live, as it was read, with masks in place of its secrets."""

    @property
    def admin(self) -> Admin | None:
        """Who may do what at this API; None before a configuration is live."""

    @property
    def contents(self) -> Contents:
        """What the files hold that the configuration names."""

    @property
    def retired_totals(self) -> Mapping[tuple[str, str, str], Totals]:
        """Sums of the rows that were given back since the start, by (route, backend, role)."""

    @property
    def feedback(self) -> Desk:
        """Where truths are told."""

    @property
    def captures(self) -> Captures:
        """What was captured."""

    @property
    def records(self) -> Records:
        """What the store remembers."""

    def rows(self) -> Sequence[RowView]:
        """The rows that are lent now."""

    def status(self) -> Json:
        """The process, its configuration, its workers, the endpoints of backends, and a summary of each route."""

    def routes(self) -> list[Json]:
        """A summary of each route, in order of precedence."""

    def route(self, name: str) -> Json:
        """All that is known of a route. Raises KeyError if there is none of this name."""

    async def act(
        self, route: str, verb: Verb, actor: str, full: bool = False, reason: str = "", candidate: str = ""
    ) -> Json:
        """Carry out a command.

        Raises KeyError, IllegalEvent where the rollout's phase does not allow it, StoreError where it cannot be kept.
        """

    async def validate(self, text: str) -> list[Json]:
        """The problems of a configuration; none if it could be loaded."""

    async def replace(self, text: str, actor: str, known: Collection[str] | None) -> Json:
        """Write the configuration file and read it again; `ok` says whether the text is live.

        Raises Stale where none of the digests `known` is that of what is there; None takes whatever is.
        """

    async def reload(self, actor: str) -> Json:
        """Read the configuration file again; `ok` says whether it is live."""

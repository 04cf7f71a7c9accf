"""What goes wrong with a store. For those who run without one, too: whoever imports the store imports its database."""

from __future__ import annotations

from typing import Final

_DAMAGE: Final = ("malformed", "not a database")


class StoreError(Exception):
    """The store cannot be opened, read or written; the text names the database and the remedy."""


class LostError(StoreError):
    """What was opened is not there any more, or is damaged: it has to be opened anew. `what` says what became of it."""

    def __init__(self, text: str, what: str) -> None:
        super().__init__(text)
        self.what = what


def tells_damage(said: str) -> bool:
    """Whether an error of SQLite is about the file itself, and not about reaching it."""
    return any(sign in said for sign in _DAMAGE)

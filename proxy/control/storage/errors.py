"""What goes wrong with a store. For those who run without one, too: whoever imports the store imports its database."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be opened, read or written; the text names the database and the remedy."""


class LostError(StoreError):
    """What was opened is not there any more, or is damaged: it has to be opened anew. `what` says what became of it."""

    def __init__(self, text: str, what: str) -> None:
        super().__init__(text)
        self.what = what

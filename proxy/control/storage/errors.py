"""What goes wrong with a store. For those who run without one, too: whoever imports the store imports its database."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be opened, read or written; the text names the database and the remedy."""

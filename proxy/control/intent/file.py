"""The configuration file as somebody else writes it: whole or not at all, and never over an edit that nobody saw."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from config.files import digest
from config.loader import Loaded


class Stale(Exception):  # noqa: N818 (a state of things, as IllegalEvent)
    """What is to be replaced is not what is there."""


def check(known: Collection[str] | None, live: Loaded | None) -> None:
    """Whether one of the digests that somebody knows is that of what is live, and of the file itself.

    None knows none and takes whatever is there.

    Raises:
        Stale: it is not.
    """
    if known is None or live is None:
        return
    if live.digest not in known:
        raise Stale(f"the configuration that is live is another one by now: {live.digest[:12]}")
    if digest(live.path) != live.digest:
        raise Stale("the file was edited, and is not live yet or was refused; `If-Match: *` writes over it")


def write(path: Path, text: str) -> None:
    """Put a text in place of a file, through symbolic links; its mode and, where allowed, its owner stay.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    real = path.resolve()
    was = real.stat()
    handle, draft = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(handle, was.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.fchown(handle, was.st_uid, was.st_gid)
            os.fsync(handle)
        os.replace(draft, real)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise

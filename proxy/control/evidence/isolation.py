"""One route's trouble is its own: what goes wrong with it holds up the tick of no other.

An error that nobody foresaw used to end the controller, and the next one met it again: no version of any route was
watched any more. It is a bug all the same. It is logged with its trace, the route shows it, and its rollout stands
still where it cannot be judged, which raises no weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from proxy.control.evidence.subject import Subject
from proxy.control.storage.errors import StoreError

_LOG = structlog.get_logger("understudy.plane")


@contextmanager
def alone(subject: Subject) -> Iterator[None]:
    """Do something with a route; whatever comes of it, others go on. A store that fails the keeper has told of."""
    try:
        yield
    except StoreError:
        return
    except Exception as error:  # noqa: BLE001 (the rim: a bug that one route meets is no reason to watch none)
        said = f"{type(error).__name__}: {error}"
        if said != subject.stumbled:
            _LOG.exception("a route cannot be judged: a bug, please report it", route=subject.name)
        subject.error = subject.stumbled = said

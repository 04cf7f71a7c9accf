"""How many wait while a route is held."""

from __future__ import annotations

import os

import yaml

from config import loader
from proxy.control.views import held
from proxy.ledger.guards import EXPIRED, HELD, HOLD_REFUSED, RELEASED, WAITING
from proxy.ledger.layout import create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from tests.support.control_plane import config

NONE = dict.fromkeys(("waiting", "total", "released", "expired", "displaced", "left", "refused"), 0)


def test_all_workers_are_counted_and_a_route_that_never_waits_has_none() -> None:
    """Broken: people see the queue of one worker, or a queue where none will ever be."""
    document = config()
    plain = loader.loads(yaml.safe_dump(document), "test").config.routes[0]
    for backend in document["backends"]:
        backend["healthCheck"] = {"path": "/ready"}
    document["routes"][0]["backendRefs"] = [{"name": "v1"}, {"name": "v2", "role": "canary"}]
    document["routes"][0]["strategy"] = {"recreate": {"hook": {"url": "http://h/"}}}
    swaps = loader.loads(yaml.safe_dump(document), "test").config.routes[0]
    fd = create(2, 1, 1)
    reader = Reader(fd)
    assert (held.view(plain, reader), held.view(swaps, reader)) == (None, NONE)
    for worker in (0, 1):
        counts = Writer(fd, worker).guards.route(plain.name)
        for cell in (HELD, HELD, HELD, RELEASED, EXPIRED, HOLD_REFUSED):
            counts.add(cell)
        counts.put(WAITING, 1)
    found = NONE | {"waiting": 2, "total": 6, "released": 2, "expired": 2, "refused": 2}
    assert held.view(plain, reader) == held.view(swaps, reader) == found, "a strategy that was taken away"
    os.close(fd)

"""How endpoints stand in the workers: gauges of the last second, for people and metrics, never for a judge.

Endpoints are numbered over all backends of a snapshot, in its order; those beyond `ENDPOINTS` are not told. Worker and
controller may hold different snapshots for a moment, so every entry carries a tag of what it is about.
"""

from __future__ import annotations

import zlib
from array import array
from typing import NamedTuple

from proxy.ledger.layout import E_TAG, ENDPOINT_CELLS, ENDPOINTS
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer


class EndpointState(NamedTuple):
    """One endpoint in one worker. `until_s` is of the monotonic clock; `panic` says that health is ignored.

    A name may have several `addresses`, each of which is ejected by itself; `ejections` counts since the worker began.
    """

    addresses: int = 0
    in_flight: int = 0
    ejected: int = 0
    until_s: float = 0.0
    ejections: int = 0
    share: float = 1.0
    panic: bool = False


def tag(backend: str, endpoint: object) -> int:
    """What tells one endpoint of one backend from another by how they are written, never 0."""
    return zlib.crc32(repr((backend, endpoint)).encode()) + 1


def write(writer: Writer, number: int, tag: int, state: EndpointState) -> None:
    """Tell how an endpoint stands."""
    if number < ENDPOINTS:
        writer.set_endpoint(number, array("d", (tag, *state)))


def read(reader: Reader, worker: int, number: int, tag: int) -> EndpointState | None:
    """How an endpoint stands in a worker; None where the worker has not told yet."""
    if number >= ENDPOINTS:
        return None
    cells = reader.endpoint(worker, number)
    if len(cells) != ENDPOINT_CELLS or cells[E_TAG] != tag:
        return None
    _, addresses, in_flight, ejected, until_s, ejections, share, panic = cells
    return EndpointState(int(addresses), int(in_flight), int(ejected), until_s, int(ejections), share, bool(panic))

"""A backend in one worker: a pool for each of its endpoints, and which of them serves next."""

from __future__ import annotations

from proxy.data.pool import Pool
from proxy.snapshot import Backend


class Upstream:
    """A backend in one worker: a pool for each endpoint, used in turn. `copies` counts mirrored requests under way."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.pools = tuple(Pool(backend, endpoint) for endpoint in backend.endpoints)
        self._turn = 0
        self.copies = 0

    def pool(self) -> Pool:
        """The pool whose turn it is (round robin)."""
        pools = self.pools
        if len(pools) == 1:
            return pools[0]
        self._turn = (self._turn + 1) % len(pools)
        return pools[self._turn]

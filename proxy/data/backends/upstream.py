"""A backend in one worker: a pool for each of its endpoints, which of them are usable, and which serves next.

    pools ─▶ not out ─▶ fit: checks pass, not ejected ─▶ usable: the fit, or all in a panic, or nobody ─▶ policy ─▶ pool

What is usable is worked out when something changes, so that a pick costs what its policy costs. An endpoint that is
left out loses its traffic to the other endpoints of the same backend and to nobody else: the version that serves a
user is chosen before, and no health ever changes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence, Set
from time import monotonic
from typing import Any, Final

from proxy.data.backends import outliers
from proxy.data.backends.balancing import SlowStart, policy
from proxy.data.backends.connection import Borrower
from proxy.data.backends.pool import Pool
from proxy.data.backends.resolving import Names, is_name
from proxy.data.backends.standing import Standing, Watch
from proxy.data.requests.heads import AnswerHeads
from proxy.faults import Fault
from proxy.ledger.endpoints import EndpointState, tag
from proxy.snapshot import Backend, Endpoint

NEWS: Final = 64
"""Lines of log that wait for the next sweep; of more the oldest are dropped."""
_NOBODY: Final = Endpoint("", 0)


class Nobody(Pool):
    """What is picked where no endpoint is usable: it refuses at once."""

    def acquire(self, borrower: Borrower, head_only: bool, connect_timeout_s: float, fresh: bool = False) -> None:
        """Tell the borrower so."""
        borrower.upstream_failed(Fault.NO_ENDPOINT)


class Upstream:
    """A backend in one worker. `copies` counts mirrored requests under way, `retrying` requests whose first attempt
    failed, `panic` says that health is ignored.

    `news` are lines for the log as (level, event, facts); whoever sweeps takes them.
    """

    def __init__(self, backend: Backend, before: Upstream | None = None, names: Names | None = None) -> None:
        self.backend = backend
        self.answers = AnswerHeads()
        self.copies = self.retrying = 0
        self._names = names
        self._past = (0, 0)
        self.panic = False
        self.news: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=NEWS)
        self._tags = tuple(tag(backend.name, endpoint) for endpoint in backend.endpoints)
        self._policy = policy(backend.balancing)
        self._slow_start = self._policy if isinstance(self._policy, SlowStart) else None
        self._look_s = 0.0
        self._pools: tuple[Pool, ...] = ()
        self._usable: Sequence[Pool] = ()
        self._nobody = Nobody(backend, _NOBODY)
        pools = self._placed({})
        if before is not None:  # the same version, reached in another way than before
            known = {(pool.endpoint, pool.address): pool for pool in before.pools}
            for pool in pools:
                if (old := known.get((pool.endpoint, pool.address))) is not None:
                    pool.standing = old.standing
            places = [(pool.endpoint, pool.address) for pool in pools]
            self._pools = tuple(known[place] for place in places if place in known)
        self.pools = pools

    @property
    def in_flight(self) -> int:
        """Requests of all endpoints that have a connection or wait for one."""
        return sum(pool.in_flight for pool in self._pools)

    def connections(self) -> tuple[int, int]:
        """How many connections were opened and how often one was used again, by pools that are gone too."""
        opened, reused = self._past
        return opened + sum(pool.opened for pool in self._pools), reused + sum(pool.reused for pool in self._pools)

    def pool(self, tried: Sequence[Pool] = ()) -> Pool:
        """The pool that serves next: one that was not `tried` where there is any, else not the one tried last."""
        usable = self._usable
        if tried:
            usable = (
                [pool for pool in usable if pool not in tried]
                or [pool for pool in usable if pool is not tried[-1]]
                or usable
            )
        return usable[0] if len(usable) == 1 else self._policy.pick(usable)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools of all endpoints."""
        return self._pools

    @pools.setter
    def pools(self, pools: tuple[Pool, ...]) -> None:
        """Endpoints come and go. One that comes to others that are there already is new: its share grows. The first
        addresses of a name are not: it is itself that was there."""
        now_s = monotonic()
        known = {id(pool.standing) for pool in self._pools}
        there = {pool.endpoint for pool in self._pools if not pool.address}
        for pool in pools:
            if known and id(pool.standing) not in known and pool.endpoint not in there:
                pool.standing.since_s = now_s
            if self.backend.outliers is not None:
                pool.watch = Watch(pool.standing, self.backend.outliers, self._eject)
        self._pools = pools
        self.assess(now_s)

    def states(self) -> Iterator[tuple[int, EndpointState]]:
        """How each endpoint of the file stands, with its tag; a name stands for all of its addresses."""
        placed: dict[Endpoint, list[Pool]] = {endpoint: [] for endpoint in self.backend.endpoints}
        for pool in self._pools:
            placed[pool.endpoint].append(pool)
        for tagged, endpoint in zip(self._tags, self.backend.endpoints, strict=True):
            yield tagged, self._state(placed[endpoint])

    def _state(self, pools: Sequence[Pool]) -> EndpointState:
        if len(pools) == 1:
            at, pool = pools[0].standing, pools[0]
            out = 1 if at.ejected_until_s else 0
            return EndpointState(1, pool.in_flight, out, at.ejected_until_s, at.ejected, at.share, self.panic)
        standings = [pool.standing for pool in pools]
        return EndpointState(
            addresses=len(pools),
            in_flight=sum(pool.in_flight for pool in pools),
            ejected=sum(1 for standing in standings if standing.ejected_until_s),
            until_s=max((standing.ejected_until_s for standing in standings), default=0.0),
            ejections=sum(standing.ejected for standing in standings),
            share=min((standing.share for standing in standings), default=1.0),
            panic=self.panic,
        )

    # --- what changes
    def relocate(self) -> None:
        """A name has other addresses: those that stay keep their connections, those that are gone end in peace."""
        left = {(pool.endpoint, pool.address): pool for pool in self._pools}
        told = {pool.endpoint: pool.standing for pool in self._pools}
        pools = self._placed(left)
        for pool in pools:
            if (standing := told.get(pool.endpoint)) is not None:
                pool.standing.healthy, pool.standing.out = standing.healthy, standing.out
        self.pools = pools
        for pool in left.values():
            self._past = (self._past[0] + pool.opened, self._past[1] + pool.reused)
            pool.retire()

    def retire(self) -> None:
        """The backend is gone, or reached in another way: what is under way ends in peace."""
        if self._names is not None:
            self._names.leave(self.relocate)
        for pool in self._pools:
            pool.retire()

    def _placed(self, known: dict[tuple[Endpoint, str], Pool]) -> tuple[Pool, ...]:
        """A pool for each address of each endpoint, taken from those that are known or made."""
        backend = self.backend
        pools: list[Pool] = []
        for endpoint in backend.endpoints:
            name = None
            if self._names is not None and is_name(endpoint.host):
                name = self._names.follow(endpoint.host, backend.dns_refresh_s, self.relocate)
            addresses = (name.addresses if name is not None else ()) or ("",)
            places = [(endpoint, address) for address in addresses]
            pools += [
                known.pop(place) if place in known else Pool(backend, place[0], name, place[1]) for place in places
            ]
        return tuple(pools)

    def judge(self, unhealthy: Set[Endpoint], out: Set[Endpoint] = frozenset()) -> None:
        """Take the word of the controller: what its checks found, and which endpoints no request goes to."""
        changed = False
        for pool in self._pools:
            standing, healthy, left_out = pool.standing, pool.endpoint not in unhealthy, pool.endpoint in out
            changed |= healthy is not standing.healthy or left_out is not standing.out
            standing.healthy, standing.out = healthy, left_out
        if changed:
            self.assess(monotonic())

    def sweep(self, now_s: float) -> None:
        """Close old connections, let ejected endpoints come back and new ones grow."""
        for pool in self._pools:
            pool.sweep(now_s)
        settings = self.backend.outliers
        if settings is not None and now_s >= self._look_s:
            self._look_s = now_s + settings.interval_s
            back = outliers.look(self._standings(), now_s)
            if back:
                self._tell("info", "endpoint back", [pool for pool in self._pools if pool.standing in back])
                self.assess(now_s)
        if self._slow_start is not None:
            self._slow_start.warm(self._standings(), now_s)

    def _eject(self, standing: Standing) -> None:
        settings, now_s = self.backend.outliers, monotonic()
        if settings is not None and outliers.eject(settings, standing, self._standings(), now_s):
            ejected = [pool for pool in self._pools if pool.standing is standing]
            self._tell("warning", "endpoint ejected", ejected, seconds=round(standing.ejected_until_s - now_s, 3))
            self.assess(now_s)

    def assess(self, now_s: float) -> None:
        """Work out which endpoints are usable."""
        pools, settings = [pool for pool in self._pools if not pool.standing.out], self.backend.outliers
        kept = sum(1 for pool in pools if not pool.standing.ejected_until_s)
        ignore_ejections = settings is not None and kept < settings.min_health_share * len(pools)
        fit = []
        for pool in self._pools:
            standing = pool.standing
            was_fit = standing.fit
            standing.fit = standing.healthy and not standing.out and (ignore_ejections or not standing.ejected_until_s)
            if standing.fit:
                fit.append(pool)
                if not was_fit:
                    standing.since_s = now_s
        panic = len(fit) < self.backend.balancing.panic_share * len(pools)
        if panic is not self.panic:
            event = "panic: the health of endpoints is ignored" if panic else "panic is over"
            self.panic = panic
            self.news.append(
                ("warning", event, {"backend": self.backend.name, "usable": len(fit), "endpoints": len(pools)})
            )
        self._usable = pools if panic or len(fit) == len(pools) else fit
        if not self._usable:
            self._usable = (self._nobody,)
        if self._slow_start is not None:
            self._slow_start.warm(self._standings(), now_s)

    def _standings(self) -> list[Standing]:
        return [pool.standing for pool in self._pools]

    def _tell(self, level: str, event: str, pools: Sequence[Pool], **facts: object) -> None:
        for pool in pools:
            self.news.append((level, event, {"backend": self.backend.name, "endpoint": str(pool), **facts}))

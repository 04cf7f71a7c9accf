"""All routes that are live, and every change to them: by the evidence, by a command, or by a new configuration.

Each change has one order: decide (pure), lend rows, keep in the store, install, compile, push. What cannot be kept is
not installed, and the rows that it was lent are given back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

import structlog
from msgspec.structs import replace as changed

from config import schema
from config.loader import Loaded
from proxy.control.endpoints.health import Checks
from proxy.control.endpoints.smoke import Smokes
from proxy.control.endpoints.swapping import Swapper
from proxy.control.evidence import glance, holdings, keeping, retiring
from proxy.control.evidence.feedback import Desk
from proxy.control.evidence.isolation import alone
from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.memory import Memory
from proxy.control.evidence.subject import Collected, Subject
from proxy.control.hindsight import journaling
from proxy.control.machine import rollout, swaps, vacancies
from proxy.control.machine.rollout import Action, Applied, Ask, Checked, Event, Record, Route, State
from proxy.control.routing import compile as compiler
from proxy.control.routing.fleet import Fleet
from proxy.control.storage.carrying import Live
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper, holder
from proxy.control.storage.keys import Keys
from proxy.control.storage.store import Kept, Letter
from proxy.control.views import routes as views
from proxy.control.webhooks.hooks import Hooks
from proxy.ledger.reader import Reader, Totals

_LOG = structlog.get_logger("understudy.plane")
_NEW_EVIDENCE: Final = "begin"
"""The kind of the record with which a rollout begins, or begins again."""


class Plane:
    """The live routes. `subjects` are in order of precedence."""

    def __init__(
        self,
        reader: Reader,
        fleet: Fleet,
        keeper: Keeper,
        places: Sequence[str],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        checks: Checks,
    ) -> None:
        self._reader, self._fleet, self._keeper, self._checks = reader, fleet, keeper, checks
        self.hooks = Hooks(keeper, clock, monotonic)
        self._letters: list[Letter] = []
        """Of changes by a configuration, for webhooks that are known once it is live."""
        self._places, self._clock, self._monotonic = places, clock, monotonic
        self._smokes = Smokes(monotonic)
        self._swapper = Swapper(checks, fleet, reader, clock, monotonic)
        self._loaded: Loaded | None = None
        self._memory = Memory(keeper)
        self._inherited = fleet.snapshot
        self._frozen = True
        self._keys = Keys.inherited(self._inherited)
        self.lending = Lending(reader.shape.rows, reader.shape.tables)
        self.subjects: dict[str, Subject] = {}
        self.desk = Desk(lambda: self.subjects.values(), lambda: b"" if self._frozen else self._keys.feedback, clock)
        self.retired: dict[tuple[str, str, str], Totals] = {}

    async def recover(self) -> None:
        """Learn what was kept; until then rollouts have no state and do not move.

        Raises:
            StoreError: the store cannot be read.
        """
        await self._keeper.ask(lambda store: store.take_charge(holder(self._clock())))
        await self._memory.recover()
        self._keys = await Keys.kept(self._keeper)
        await self.hooks.recover()
        self._keeper.follow(self)
        self._frozen = False
        for subject in self.subjects.values():
            self._give_back(subject.collected.holdings.loans.values())
        self.subjects = {}

    async def go_live(self, loaded: Loaded, before: schema.Config | None = None) -> bool:
        """Route by a configuration from now on; whether all workers hold it already. `before` is the one that was live
        last, if any is known.

        Raises:
            StoreError: a rollout that it begins or changes cannot be kept; what ran goes on.
        """
        routes = {route.name for route in loaded.config.routes}
        subjects = [self._subject(loaded.config, route, routes) for route in loaded.config.routes]
        plans = [subject.plan for subject in subjects if subject.plan is not None]
        outdated = self._memory.outdated(loaded.config, before, self.subjects, plans)
        settled: list[tuple[Subject, State | None, Collected]] = []
        try:
            for subject in subjects:
                state, actions = self._adopted(subject, routes)
                collected = await self._kept_change(subject, state, actions, loaded.digest, always=True)
                settled.append((subject, state, collected))
            await self._memory.forget(outdated, self._clock())
        except StoreError:
            for subject, _, collected in settled:
                self._give_back(collected.holdings.returned(subject.collected.holdings))
            for subject in subjects:
                if subject.name not in self.subjects:
                    self._give_back(subject.collected.holdings.loans.values())
            raise
        for subject, state, collected in settled:
            self._install(subject, state, collected)
        self._memory.drop(outdated, self._clock())
        for name in set(self.subjects) - routes:
            self._leave(self.subjects[name])
        self.subjects = {subject.name: subject for subject in subjects}
        self._loaded = loaded
        self.hooks.follow(loaded.config.routes)
        self._tell()
        wanted = {(each.name, *output) for each in subjects for output in holdings.output_kinds(each.route).items()}
        self.lending.keep_tables(wanted, self._monotonic())
        for backend in views.unverified(loaded.config):
            _LOG.warning("backend is not verified: whoever answers in its place is believed", **backend)
        return await self.publish()

    async def tick(self) -> None:
        """Take in what has closed, and let every rollout step on it."""
        await self._keeper.look()
        now_s = self._monotonic()
        for subject in self.subjects.values():
            with alone(subject):
                subject.read(self._reader, now_s, self._clock())
        retiring.retire(self.lending, self._reader, self.subjects, self.retired, now_s)
        for subject in [each for each in self.subjects.values() if self._frozen or not each.active]:
            self._smokes.forget(subject.name)
        going = (each for each in self.subjects.values() if each.active and not self._frozen)
        await self._go_on(going, now_s, int(now_s))
        await self._swap()

    @property
    def is_watched(self) -> bool:
        """Whether there is a candidate whose outage would be found by a glance."""
        return any(map(glance.is_worth_it, self.subjects.values()))

    async def glance(self) -> None:
        """Find outages that no tick has seen yet."""
        now_s, wall_s = self._monotonic(), self._clock()
        tripped = [each for each in self.subjects.values() if glance.trips(each, self._reader, now_s, wall_s)]
        await self._go_on(tripped, now_s, int(now_s) + 1)  # beyond the tick of this second

    async def _go_on(self, subjects: Iterable[Subject], now_s: float, cursor: int) -> None:
        """Keep what rollouts have read, and let them step on it."""
        rerouted_s: float | None = None
        for subject in subjects:
            with alone(subject):
                await keeping.keep(self._keeper, subject, self._reader, cursor)
                looked_s = self._monotonic()
                if await self._look(subject, now_s) and rerouted_s is None:
                    rerouted_s = looked_s
        if rerouted_s is not None:
            await self._reroute(rerouted_s)

    async def follow(self) -> bool:
        """Take in what the checks have found, and go on with what waits for it."""
        await self._swap()
        return await self.publish()

    async def close(self) -> None:
        """Ask no endpoint and no webhook any more."""
        await self._smokes.close()
        await self._swapper.close()
        await self.hooks.close()

    async def command(self, subject: Subject, event: Event) -> None:
        """Carry out what an operator wants.

        Raises:
            IllegalEvent: the rollout's phase does not allow it.
            StoreError: it cannot be kept; nothing has changed.
        """
        now_s = self._monotonic()
        subject.look(self._clock())  # what is known at this moment is what it is done on
        if await self._step(subject, event):
            await self._reroute(now_s)

    async def _reroute(self, decided_s: float) -> None:
        """Publish what was decided then, and say how long it took until the last worker has heard."""
        heard = await self.publish()
        took_ms = 1000 * (self._monotonic() - decided_s)
        _LOG.info("workers route anew", generation=self._fleet.generation, workers=len(self._fleet.alive()),
                  all_heard=heard, took_ms=round(took_ms, 1))  # fmt: skip

    async def publish(self) -> bool:
        """Compile and push, if that makes a difference; whether all workers hold it."""
        loaded = self._loaded
        if loaded is None:
            return False
        loans = [loan for subject in self.subjects.values() for loan in subject.collected.holdings.loans.values()]
        before = self._fleet.snapshot
        snapshot = compiler.compile(
            loaded.config,
            {name: subject.state for name, subject in self.subjects.items() if subject.state is not None},
            {(loan.route, loan.backend, loan.role): loan.row for loan in loans},
            holdings.tables(loans),
            self._fleet.generation,
            loaded.digest,
            self._places,
            before.listeners if before is not None else (),
            loaded.contents,
        )
        questions = (backend.health_check for backend in loaded.config.backends)
        self._checks.follow(zip(snapshot.backends, questions, strict=True))
        snapshot = changed(self._keys.given(snapshot), unhealthy=self._checks.unhealthy(snapshot.backends))
        if snapshot != before:
            counted = await self._keeper.next_number("generation", self._fleet.generation)
            unhealthy = self._checks.unhealthy(snapshot.backends)  # a store may have taken its time since
            snapshot = changed(snapshot, unhealthy=unhealthy, generation=max(counted, self._fleet.generation + 1))
            await self._fleet.publish(snapshot)
        slice_ = int(self._monotonic())
        for subject in self.subjects.values():
            subject.routed(snapshot.generation)
            holdings.cut(subject.tracks, subject.collected.holdings.loans, slice_)
        return self._fleet.holds(snapshot.generation)

    def standing(self) -> dict[str, State]:
        """The rollouts that a file must not do harm to, by route."""
        return self._memory.standing(self.subjects)

    def view(self, subject: Subject) -> views.Json:
        """All that is known of a route, for people and programs."""
        return views.route(subject, self._reader, self._clock()) | {"webhooks": self.hooks.view(subject.route)}

    def begin_anew(self) -> None:
        """The store is another one: nothing of what goes on is there."""
        keeping.begin_anew(self.subjects.values())

    def live(self) -> Live:
        """All that goes on."""
        config = (self._loaded.text, self._loaded.digest) if self._loaded else None
        rollouts, letters = (
            keeping.carried(self.subjects, self._memory.kept, self._reader),
            self.hooks.untold + self._letters,
        )
        return Live(self._clock(), rollouts, letters, self._fleet.generation, self._keys.named, config)

    # --- one route
    def _subject(self, config: schema.Config, route: schema.Route, routes: Collection[str]) -> Subject:
        """The route as configured now, with what is known of it from before."""
        new = Subject.of(config, route)
        old = self.subjects.get(route.name)
        if old is not None:
            return replace(old, route=route, plan=new.plan, question=new.question)
        kept = self._memory.known(route.name, new.plan, routes)
        if new.plan is None:
            shares = compiler.layout(route, None)
            new.collected = Collected(holdings=holdings.from_slot(route, shares, self._inherited, self.lending))
        if new.plan is None or kept is None:
            return new
        new.state, new.kept_verdict = kept.state, kept.verdict
        where = -1 if self.subjects else self._reader.shape.boot, self.lending, self._monotonic(), self._clock()
        new.take_up(kept.evidence, kept.seen, where)  # what was away has no rows any more
        return new

    def _adopted(self, subject: Subject, routes: Collection[str]) -> rollout.Decision | tuple[None, tuple[()]]:
        if subject.plan is None or self._frozen:
            return None, ()
        kept = None if subject.state else self._memory.known(subject.name, subject.plan, routes)
        known = kept.state if kept else subject.state
        return vacancies.take_up(subject.plan, known, self._clock(), subject.away)

    async def _look(self, subject: Subject, now_s: float) -> bool:
        rerouted = False
        state = subject.state
        if state is not None and subject.applied_stage != state.stage and self._fleet.holds(subject.generation):
            rerouted |= await self._step(subject, Applied(state.stage))
            subject.applied_stage = state.stage  # told, and kept
        rerouted |= await self._check(subject)
        fallen = self._swapper.fallen(subject)
        rerouted |= fallen is not None and await self._step(subject, fallen)
        if not subject.is_due(now_s):
            return rerouted
        subject.looked_s, state = now_s, subject.state
        hooks = self.hooks.answers(subject.route.webhooks, state)
        unwell = {} if subject.hook or state is None else self._checks.outages(state.racing, state.stable)
        look = replace(subject.look(self._clock()), hooks=hooks, room=self.lending.room, unwell=unwell)
        return await self._step(subject, look) or rerouted

    async def _check(self, subject: Subject) -> bool:
        """Ask the candidate's endpoints where the step wants it, and tell what they answered."""
        smoke, state, snapshot = subject.smoke, subject.state, self._fleet.snapshot
        held = () if snapshot is None or state is None else snapshot.backends
        backend = next((each for each in held if state is not None and each.name == state.candidate), None)
        if smoke is None or state is None or backend is None:
            self._smokes.forget(subject.name)
            return False
        known = [self._checks.condition(backend.name, endpoint) for endpoint in backend.endpoints]
        failure = self._smokes.ask((subject.name, state.stage, state.step), backend, smoke, known)
        return failure is not None and await self._step(subject, Checked(state.stage, state.step, failure))

    async def _swap(self) -> None:
        """Go on with every swap and replacement as far as it goes now: clients wait for it, and it for no tick."""
        for subject in self.subjects.values():
            with alone(subject):
                try:
                    await self._swap_on(subject)
                except StoreError:
                    self._swapper.look_again()  # the keeper has said so; requests go on to wait

    async def _swap_on(self, subject: Subject) -> None:
        while not self._frozen and subject.state is not None and swaps.is_under_way(subject.state):
            before = subject.state
            if (event := self._swapper.event(subject)) is None:
                break
            if await self._step(subject, event):
                await self.publish()
            if subject.state == before:
                break

    async def _step(self, subject: Subject, event: Event) -> bool:
        """Fire one event; whether the routing is another one now."""
        if subject.plan is None or subject.state is None:
            return False
        state, actions = rollout.step(subject.plan, subject.state, event, self._clock())
        asked = [action for action in actions if isinstance(action, Ask)]
        actions = tuple(action for action in actions if not isinstance(action, Ask))
        if state != subject.state or actions:
            config = self._loaded.digest if self._loaded else ""
            self._install(subject, state, await self._kept_change(subject, state, actions, config))
        for ask in asked:
            self.hooks.ask(subject.route.webhooks, state, ask.gates)
        return any(isinstance(action, Route) for action in actions)

    async def _kept_change(
        self, subject: Subject, state: State | None, actions: Sequence[Action], config: str, always: bool = False
    ) -> Collected:
        """Lend what a new state needs, and keep it in the store; answers what is to be installed.

        `config` is the digest of the configuration by which it changes. `always` settles rows even where no action asks
        for it: the configuration may want others, and what it changes is not made on evidence.
        """
        fresh = any(isinstance(action, Record) and action.kind == _NEW_EVIDENCE for action in actions)
        now_s = self._monotonic()
        collected = subject.collected
        if always or fresh or any(isinstance(action, Route) for action in actions):
            collected = subject.settled(state, fresh, self.lending, int(now_s))
        if state is None or (state == subject.state and not actions):
            return collected
        if fresh:
            self._smokes.forget(subject.name)  # what is asked now is another version, or another question
            subject.begin_clock(now_s, self._clock())
        blob, seen = subject.dump(self._reader, state, collected), collected.truths.seen
        changes = seen.changes()
        basis = None if fresh or always else journaling.basis(subject)
        records = (action for action in actions if isinstance(action, Record))
        entries = [journaling.entry(state, record, self._clock(), config, basis) for record in records]
        letters = self.hooks.letters(subject.route.webhooks, subject.state, state, entries)
        try:
            entries = await self._keeper.ask(
                lambda store: store.transition(state, blob, int(now_s), basis, entries, changes, fresh, letters)
            )
        except StoreError:
            self._give_back(collected.holdings.returned(subject.collected.holdings))
            raise
        seen.kept(changes)
        verdict = None if fresh else basis.verdict if basis else views.kept_verdict(subject)
        self._memory.keep(subject.name, Kept(state, blob, int(now_s), verdict))
        self._letters += letters
        if not always:
            self._tell()
        for entry in entries:
            _LOG.info(entry.kind, route=entry.route, actor=entry.actor, text=entry.text, phase=str(state.phase),
                      entry=entry.id, hash=entry.hash)  # fmt: skip
        return collected

    def _install(self, subject: Subject, state: State | None, collected: Collected) -> None:
        self._give_back(subject.install(state, collected))
        if subject.active and subject.verdict is None:
            subject.look(self._clock())  # for people: what is asked, and what of it is known already

    # --- the rest
    def _tell(self) -> None:
        self.hooks.take(self._letters)
        self._letters = []

    def _leave(self, subject: Subject) -> None:
        self._give_back(subject.collected.holdings.loans.values())
        self._smokes.forget(subject.name)
        self._swapper.forget(subject.name)
        self._memory.left(subject.name)

    def _give_back(self, loans: Iterable[Loan]) -> None:
        for loan in loans:
            self.lending.give_back(loan, self._monotonic())

"""Counting records in bulk: cell by cell what a live worker counts of the same requests."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.tracks import Track, groups
from proxy.data.answers.predictions import compared, read_category, read_number
from proxy.data.requests.router import place
from proxy.faults import Fault
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.ledger.reading import Reading
from proxy.ledger.writer import Writer
from proxy.simulation.records import Lines, Record
from proxy.simulation.worker import Worker
from proxy.snapshot import Output

SEED = 7
KINDS = {"label": "category", "score": "number"}
T = 1000

labels = st.one_of(
    st.sampled_from(["cat", "dog", "bird", "1", "1.0", "true"]), st.integers(0, 3), st.booleans(), st.none(),
    st.floats(0, 3), st.lists(st.sampled_from(["cat", "dog"]), max_size=3), st.just({"a": 1}), st.text(max_size=3),
)  # fmt: skip
scores = st.one_of(
    st.floats(-2, 3), st.integers(-1, 2), st.just(float("nan")), st.just(float("inf")), st.just(10**400), st.none(),
    st.text(max_size=2), st.booleans(), st.lists(st.floats(0, 1), max_size=3),
)  # fmt: skip
outputs = st.one_of(
    st.none(), st.fixed_dictionaries({}, optional={"label": labels, "score": scores, "more": st.just(1)})
)
latencies = st.one_of(
    st.floats(0, 400), st.floats(9_000, 9_990), st.floats(10_010, 12_000), st.sampled_from([0.0, 0.1])
)
sides = st.fixed_dictionaries({"latencyMs": latencies, "outputs": outputs}, optional={"error": st.booleans()})
requests = st.lists(
    st.tuples(st.floats(0, 0.99), sides, st.one_of(st.none(), st.sampled_from(["", "u1", "u2", "u3", 17]))), max_size=12
)


class Both:
    """A ledger that records are counted into in bulk, and one that a live worker counts the same requests into."""

    def __init__(self) -> None:
        self.fds = [at.create(workers=1, rows=3, tables=2) for _ in range(2)]
        self.readers = [Reader(fd) for fd in self.fds]
        book = Lending(3, 2, iter(range(11, 99)).__next__)
        self.loans = {role: book.lend("r", "v", role, 1, KINDS) for role in ("stable", "canary", "shadow")}
        table = book.table("r", "label", "category")
        self.outputs = (Output("label", "category", table=table), Output("score", "number", low=0.0, high=1.0))
        self.worker = Worker(self.fds[0], SEED, self.outputs)
        self.writer = Writer(self.fds[1], 0)
        self.table = self.writer.labels(table.index, table.tenant)
        self.lines = Lines([*KINDS])
        self.ends: list[tuple[float, Any]] = []

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)

    def records(self, found: list[Any], key: str = "") -> list[Record[Any]]:
        text = "".join(json.dumps({"t": T, "backend": "v", **(side[key] if key else side)}) + "\n" for side in found)
        return self.lines.decode(1, text.encode())[0]

    def readings(self, side: dict[str, Any]) -> list[Reading]:
        """What a live worker reads of an answer."""
        if side.get("error") or side["latencyMs"] > 10_000:
            return []
        found = []
        for number, output in enumerate(self.outputs):
            said = side["outputs"] or {}
            if output.name not in said:
                found.append(Reading(number, missing=1))
            elif output.kind == "category":
                found.append(read_category(number, [said[output.name]], self.table))
            else:
                found.append(read_number(number, [said[output.name]], output))
        return found

    def live(self, loan: Loan, arrived_s: float, side: dict[str, Any], user: Any, before: Any = None) -> None:
        """One request as a live worker counts it, its end when its time has come."""
        row = self.writer.occupy(loan.index, loan.tenant, 2)
        draw = place(SEED, str(user).encode()) if user not in (None, "") else None
        self.writer.arrive(row, arrived_s, -1 if draw is None else draw.user)
        failed = bool(side.get("error"))

        def end(now_s: float) -> None:
            if before is not None:
                before(row, now_s)
            group = -1 if draw is None else draw.group
            readings = self.readings(side)
            self.writer.finish(row, arrived_s, now_s, failed, 0 if failed else 200, Fault.NONE, group, readings)

        self.ends.append((arrived_s + side["latencyMs"] / 1000, end))

    def advance(self, now_s: float, exact: bool = False) -> None:
        self.worker.advance(now_s, exact)
        for end_s, end in sorted((each for each in self.ends if each[0] <= now_s), key=lambda each: each[0]):
            end(end_s)
        self.ends = [each for each in self.ends if each[0] > now_s]

    def slices(self, tracks: list[Track], now_s: float) -> list[list[Any]]:
        return [list(track.read(reader, now_s)) for track, reader in zip(tracks, self.readers, strict=True)]


def same(left: Any, right: Any) -> None:
    """Two slices have the same counts."""
    for one, other in ((left.stable, right.stable), (left.candidate, right.candidate)):
        for name in ("assigned", "recorded", "answered", "failed", "missing", "invalid", "clipped", "labels"):
            assert getattr(one, name) == getattr(other, name), name
        for name in ("latency", "group_n", "group_failed"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
        for name, numbers in one.numbers.items():
            assert numbers.n == other.numbers[name].n
            assert numbers.total == pytest.approx(other.numbers[name].total)
            assert numbers.squares == pytest.approx(other.numbers[name].squares)
            np.testing.assert_array_equal(one.histograms[name], other.histograms[name])
    assert left.users == right.users
    assert (left.pairs is None) == (right.pairs is None)
    if left.pairs is not None:
        assert left.pairs.compared == right.pairs.compared
        assert left.pairs.disagreed == right.pairs.disagreed
        assert left.pairs.repeated == right.pairs.repeated
        np.testing.assert_array_equal(left.pairs.ratio, right.pairs.ratio)


def tables(labels: Any) -> dict[str, dict[str, list[float]]]:
    return {name: {text: counts.tolist() for text, counts in each.items()} for name, each in labels.items()}


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(st.tuples(requests, requests), min_size=1, max_size=3))
def test_requests_are_counted_as_by_a_live_worker(seconds: list[Any]) -> None:
    """Broken: a simulation judges other numbers than the rollout would have judged."""
    both = Both()
    roles = ("stable", "canary")
    loans = tuple(both.loans[role] for role in roles)
    tracks = [Track(1, 0.5, True, True, loans, T) for _ in range(2)]
    found: list[list[Any]] = [[], []]
    for second in range(T, T + 16):
        for loan, arrivals in zip(loans, seconds[second - T] if second - T < len(seconds) else ((), ()), strict=True):
            arrivals = sorted(arrivals, key=lambda each: each[0])
            records = both.records([side for _, side, _ in arrivals])
            times = np.array([second + t for t, _, _ in arrivals])
            users = [user for _, _, user in arrivals]
            both.worker.requests(loan, second, times, both.worker.columns(records), users)
            for t, side, user in arrivals:
                both.live(loan, second + t, side, user)
        both.advance(second + 1.06)
        now = both.slices(tracks, second + 1.06)
        assert len(now[0]) == len(now[1]), f"closed at {second}"
        found = [before + more for before, more in zip(found, now, strict=True)]
    assert len(found[0]) >= 16 - 11, "all but those within the grace"
    for left, right in zip(*found, strict=True):
        same(left, right)
    both.advance(T + 99.0)
    for loan in loans:
        one, other = (groups(reader, loan) for reader in both.readers)
        np.testing.assert_array_equal(one.latency, other.latency)
        assert tables(one.labels) == tables(other.labels)
        assert one.numbers.keys() == other.numbers.keys()
        for name, sums in one.numbers.items():
            np.testing.assert_allclose(sums, other.numbers[name])
    both.close()


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(st.tuples(st.floats(0, 0.99), sides, sides), max_size=8))
def test_pairs_are_compared_as_by_a_live_worker(pairs: list[Any]) -> None:
    """Broken: a simulated shadow disagrees where a real one would not."""
    both = Both()
    loans = (both.loans["stable"], both.loans["shadow"])
    tracks = [Track(1, 0.0, True, False, loans, T) for _ in range(2)]
    pairs = [each for each in pairs if each[1]["latencyMs"] > 1e-6]  # what no clock tells from 0 is no divisor
    times = np.array([T + t for t, _, _ in pairs])
    stable, shadow = (both.worker.columns(both.records([each[side] for each in pairs])) for side in (1, 2))
    both.worker.pairs(loans[1], T, times, stable, shadow)
    both.worker.requests(loans[1], T, times, shadow, None)
    for t, one, other in pairs:
        both.live(loans[1], T + t, other, None, comparing(both, T + t, one, other))
    found: list[list[Any]] = [[], []]
    for second in range(T, T + 16):
        both.advance(second + 1.06)
        found = [before + more for before, more in zip(found, both.slices(tracks, second + 1.06), strict=True)]
    for left, right in zip(*found, strict=True):
        same(left, right)
    both.close()


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(requests, st.lists(st.tuples(sides, sides), max_size=6), st.lists(st.floats(0, 3), min_size=1, max_size=4))
def test_a_slice_that_goes_on_is_as_a_live_worker_has_it(requests: Any, pairs: Any, moments: list[float]) -> None:
    """Broken: a glance sees failures before they are there, or successes that are under way as failures."""
    both = Both()
    loans = (both.loans["canary"], both.loans["shadow"])
    tracks = [Track(1, 0.5, True, False, loans, T) for _ in range(2)]
    times = np.array([T + t for t, _, _ in requests])
    records = both.records([side for _, side, _ in requests])
    both.worker.requests(loans[0], T, times, both.worker.columns(records), [user for _, _, user in requests])
    for t, side, user in requests:
        both.live(loans[0], T + t, side, user)
    pairs = [each for each in pairs if each[0]["latencyMs"] > 1e-6]
    stable, shadow = (both.worker.columns(both.records([each[side] for each in pairs])) for side in (0, 1))
    both.worker.pairs(loans[1], T, np.full(len(pairs), T + 0.25), stable, shadow)
    both.worker.requests(loans[1], T, np.full(len(pairs), T + 0.25), shadow, None)
    for one, other in pairs:
        both.live(loans[1], T + 0.25, other, None, comparing(both, T + 0.25, one, other))
    for moment in sorted(moments):
        both.advance(T + 1 + moment, exact=True)
        for loan in loans:
            seen = [reader.counted(0, loan.index, loan.tenant, T) for reader in both.readers]
            assert seen[0] == seen[1]
        cut = [list(track.cut_short(reader, [T])) for track, reader in zip(tracks, both.readers, strict=True)]
        same(cut[0][0], cut[1][0])
    both.close()


def comparing(both: Both, arrived_s: float, stable: dict[str, Any], shadow: dict[str, Any]) -> Any:
    """What the shadow of a live worker does before its end: `proxy.data.copies.shadow`."""

    def before(row: Any, now_s: float) -> None:
        if stable.get("error") or shadow.get("error"):
            return
        said = list(zip(both.outputs, both.readings(stable), both.readings(shadow), strict=False))
        differ = [(n, compared(out, out.kind == "category", *two)) for n, (out, *two) in enumerate(said)]
        ratio = shadow["latencyMs"] / stable["latencyMs"]
        both.writer.pair(row, arrived_s, now_s, ratio, [(n, bool(x), ()) for n, x in differ if x is not None])

    return before


def test_repeats_are_counted_by_which_answers_differ() -> None:
    """Broken: the noise of the model is taken for that of the candidate, or the other way round."""
    both = Both()
    loans = (both.loans["stable"], both.loans["shadow"])
    track = Track(1, 0.0, True, False, loans, T)
    table = ["cat cat cat", "cat dog cat", "cat cat dog", "cat dog dog", "cat dog dog", "cat cat -", "cat - dog"]
    said = [each.split() for each in table]
    answers = [[{} if each[at] == "-" else {"label": each[at]} for each in said] for at in range(3)]
    sides = [
        both.worker.columns(both.records([{"latencyMs": 5.0, "outputs": one} for one in each])) for each in answers
    ]
    both.worker.pairs(loans[1], T, np.full(len(table), T + 0.5), *sides)
    both.advance(T + 1.06)
    [found] = track.read(both.readers[0], T + 1.06)
    assert found.pairs is not None
    assert found.pairs.disagreed["label"] == (6, 3)
    assert tuple(found.pairs.repeated["label"]) == (5, 1, 1, 2)
    both.close()


def test_what_was_assigned_and_has_no_record_is_lost() -> None:
    """Broken: requests that vanish on one side are not seen by the check of the split."""
    both = Both()
    loans = (both.loans["stable"], both.loans["canary"])
    track = Track(1, 0.5, True, False, loans, T)
    both.worker.lose(loans[1], T, 40)
    [found] = track.read(both.readers[0], T + 1.06)
    assert (found.candidate.assigned, found.candidate.recorded, found.candidate.latency.sum()) == (40, 0, 0)
    both.close()


def test_half_a_character_is_a_user_too() -> None:
    """Broken: one log line with a name that is no text would end the simulation, with words about its route."""
    both = Both()
    record = both.lines.decode(1, b'{"t": 1000, "backend": "v", "user": "\\ud800"}')[0]
    both.worker.requests(both.loans["stable"], T, np.array([T + 0.5]), both.worker.columns(record), [record[0].user])
    assert both.worker.groups(["\ud800"], 1)[0] >= 0
    both.close()


def test_a_request_that_goes_on_holds_its_slice_open() -> None:
    """Broken: slow requests would be missing from the slice that they belong to, and a slow version looks fast."""
    both = Both()
    loans = (both.loans["stable"], both.loans["canary"])
    track = Track(1, 0.5, True, False, loans, T)
    record = both.records([{"latencyMs": 3000.0}])
    both.worker.requests(loans[1], T, np.array([T + 0.5]), both.worker.columns(record), None)
    for second in range(T, T + 3):
        both.advance(second + 1.06)
        assert not list(track.read(both.readers[0], second + 1.06))
    both.advance(T + 4.06)
    assert next(track.read(both.readers[0], T + 4.06)).candidate.answered == 1
    both.close()


def answered(outputs: list[Any]) -> list[Record[Any]]:
    """Records with these outputs."""
    text = "".join(json.dumps({"t": T, "backend": "v", "outputs": each}) + "\n" for each in outputs)
    return Lines(["label"]).decode(1, text.encode())[0]


def test_what_is_dropped_is_compared_in_pairs() -> None:
    """Broken: a rollout with `privacy: drop` cannot be tried on records, or is judged by nothing."""
    fd = at.create(workers=1, rows=1, tables=1)
    worker = Worker(fd, SEED, (Output("label", "category", privacy="drop"),))
    said = [{"label": "a"}, {"label": "b"}, {"label": ["a", "b"]}, {}, {"label": "a"}]
    again = [{"label": "a"}, {"label": "c"}, {"label": ["a", "c"]}, {"label": "a"}, {"label": {}}]
    stable, shadow = (worker.columns(answered(each)) for each in (said, again))
    both, differ = worker._outputs.apart(0, stable, shadow)
    assert both.tolist() == [True, True, True, False, False]
    assert differ.tolist() == [False, True, True, False, False]
    assert not np.isin(stable.values[0].one, range(at.LABELS)).any(), "a label is counted"
    os.close(fd)

"""What would have been decided, and when, had another configuration been live: recorded rollouts, run again."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

from config import schema
from proxy.control.evidence.subject import Subject
from proxy.control.hindsight.replay import Incident, Replay, Segment
from proxy.control.machine.rollout import TERMINAL, Abort
from proxy.control.machine.steps import Swap
from proxy.control.storage.recording import Looked, decode
from proxy.control.views import routes as views

Json = dict[str, Any]
_DECISIVE: Final = ("abort", "failed", "promote", "succeeded", "inconclusive")


class Source(Protocol):
    """Where recordings come from: the admin API."""

    def recordings(self, route: str) -> list[Json]:
        """The runs of a route, the oldest first, with their entries of the journal."""

    def recorded(self, route: str, run: int) -> Iterator[Json]:
        """The rows of a run, in order."""


def backtest(config: schema.Config, name: str, source: Source, number: int | None = None) -> Json:
    """One rollout of a route under a configuration: the last one, or the run of this number.

    Raises:
        ValueError: the configuration has no such rollout, or nothing of it was recorded.
    """
    route = next((route for route in config.routes if route.name == name), None)
    if route is None:
        names = ", ".join(route.name for route in config.routes)
        raise ValueError(f"the file has no route {name}; it has {names}")
    subject = Subject.of(config, route)
    if subject.plan is None:
        raise ValueError(f"route {name} of the file has no strategy, so that nothing would be decided")
    if isinstance(subject.plan.ending, Swap):
        raise ValueError(f"route {name} of the file swaps its versions (recreate), so that nothing would be compared")
    runs = source.recordings(name)
    run = next((each for each in reversed(runs) if number in (None, each["run"])), None)
    if run is None:
        known = ", ".join(str(each["run"]) for each in runs)
        what = f"run {number} of route {name} is not recorded" if known else f"nothing of route {name} is recorded"
        raise ValueError(f"{what}{f'; what is: {known}' if known else ': it is while a rollout goes on'}")
    replay = Replay(subject, _incidents(run["entries"]))
    replay.run(list(_segments(list(source.recorded(name, run["run"])))))
    return {"route": name, "run": run["run"], "recorded": _recorded(run), "replayed": _replayed(replay)}


def _segments(rows: Sequence[Json]) -> Iterator[tuple[Segment, Iterable[Looked]]]:
    for (stage, weight_ppm, mirrored), found in groupby(rows, lambda r: (r["stage"], r["weightPpm"], r["mirrored"])):
        of_stage = list(found)
        count = sum(row["slices"] for row in of_stage)
        yield Segment(stage, weight_ppm, mirrored, count), _slices(of_stage)


def _slices(rows: Iterable[Json]) -> Iterator[Looked]:
    for row in rows:
        yield from decode(base64.b64decode(row["data"]))


def _incidents(entries: Sequence[Json]) -> Iterator[Incident]:
    """What decided beside the evidence then."""
    for entry in entries:
        details = entry["details"]
        if unwell := details.get("unwell"):
            yield Incident(entry["at"], unwell)
        if (said := details.get("aborted")) is not None:
            yield Incident(entry["at"], aborted=Abort(entry["actor"], said["reason"], said["candidate"]))


def _recorded(run: Json) -> Json:
    """What was decided then."""
    last = next((entry for entry in reversed(run["entries"]) if entry["kind"] in _DECISIVE), None)
    details = last["details"] if last else {}
    return {
        "from": run["firstAt"],
        "until": run["lastAt"],
        "slices": run["slices"],
        "phase": details.get("phase", ""),
        "verdict": details.get("verdict", ""),
        "decidedBy": details.get("decidedBy", ""),
        "reason": last["text"] if last else "not decided yet",
        "at": last["at"] if last else None,
        "seconds": last["at"] - run["firstAt"] if last else None,
    }


def _replayed(replay: Replay) -> Json:
    """What would have been decided."""
    state = replay.state
    verdict = None if replay.verdict is None else views.verdict_document(replay.verdict)
    decided = state is not None and state.phase in TERMINAL
    return {
        "decided": decided,
        "phase": str(state.phase) if state else "",
        "verdict": state.verdict if state else "",
        "decidedBy": state.decided_by if state else "",
        "reason": state.reason if state else "",
        "stopped": replay.stopped,
        "seconds": replay.seconds,
        "slices": replay.slices,
        "skipped": replay.skipped,
        "looks": replay.looks,
        "missing": [] if decided or verdict is None else verdict["missing"],
        "abortEvidence": None if verdict is None else verdict["abortEvidence"],
        "abortNeeded": None if verdict is None else verdict["abortNeeded"],
        "metrics": [] if verdict is None else verdict["metrics"],
        "moments": [
            {"seconds": each.seconds, "at": each.at_s, "kind": each.what.kind, "text": each.what.text}
            for each in replay.moments
        ],
    }

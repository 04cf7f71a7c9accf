"""How routes and their rollouts look to people and programs: the JSON of the admin API.

Values are plain, keys are in camelCase, times are seconds since 1970, shares are percentages where the file has
percentages. Counters are of the whole rollout (of a route without one: since the start). Latency, labels and numbers
are of the last stage that was compared, since sums of them do not cross stages.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Final

from analysis.summaries import ArmCounts
from analysis.verdict import Verdict
from config.schema import Config
from config.values.matching import Match, StringMatch
from proxy.control.evidence import holdings
from proxy.control.evidence.holdings import Arm
from proxy.control.evidence.subject import Subject
from proxy.control.evidence.tally import ArmTally
from proxy.control.evidence.tracks import GRID, Track, user_count
from proxy.control.evidence.truths import Heard
from proxy.control.machine import moves, rolls, steps
from proxy.control.machine.rollout import TAKEN_OVER
from proxy.control.process.supervisor import Launch
from proxy.control.routing.fleet import is_alive
from proxy.control.storage.entries import Entry
from proxy.control.views import held, latched
from proxy.control.views.bounds import all_bounds
from proxy.control.views.contrast import distances
from proxy.control.views.offers import offers
from proxy.control.views.paired import front, pairs
from proxy.faults import FACTS, REPEAT_FLAGS, RETRY_FLAGS, SKIP_FLAGS
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.snapshot import CIRCLE

Json = dict[str, Any]
_SUMMARY: Final = (
    "name", "strategy", "stable", "candidate", "racing", "phase", "verdict", "winner", "reason", "step", "steps",
    "stage", "weight", "mirror",
)  # fmt: skip
_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
VERDICT_MEMBERS: Final = (
    "abort", "decidedBy", "reason", "proven", "inconclusive", "missing", "forecastSeconds", "abortEvidence",
    "abortNeeded", "metrics", "ratio", "stage", "stageStable", "stageCandidate", "stagePairs", "stageSeconds", "slices",
    "contest", "winner", "candidates", "ramp",
)  # fmt: skip
_OF_CANDIDATE: Final[Json] = {
    "metrics": [], "ratio": None, "missing": [], "forecastSeconds": None, "abortEvidence": None, "abortNeeded": None,
    "ramp": None,
}  # fmt: skip
_NO_VERDICT: Final[Json] = {**_OF_CANDIDATE, "contest": ""}


def version() -> str:
    """The release that runs; a source tree that is not installed has none."""
    try:
        return metadata.version("understudy")
    except metadata.PackageNotFoundError:
        return "unreleased"


def unverified(config: Config) -> list[Json]:
    """The backends whose certificates nobody looks at."""
    remedy = "take tls.insecureSkipVerify away, and name its authority in tls.caFile"
    found = (backend for backend in config.backends if backend.tls is not None and backend.tls.insecure_skip_verify)
    return [{"backend": backend.name, "remedy": remedy} for backend in found]


def injected(config: Config) -> list[Json]:
    """The faults that are injected on purpose, by route."""
    return [{"route": route.name, "injects": str(route.fault)} for route in config.routes if route.fault is not None]


def away(subjects: Iterable[Subject]) -> Mapping[tuple[str, str], str]:
    """The endpoints that no request goes to since they are being replaced, as (backend, address), and why."""
    return rolls.away(subject.state for subject in subjects if subject.state is not None)


def summary(subject: Subject) -> Json:
    """The line of a route in a list."""
    document = _rollout(subject)
    return {key: document[key] for key in _SUMMARY}


def route(subject: Subject, reader: Reader, now_s: float) -> Json:
    """All that is known of a route. `now_s` is wall clock time."""
    tallies = subject.tallies(reader)
    found = kept_verdict(subject) or {}
    if not subject.active or (subject.state and subject.state.phase in TAKEN_OVER):  # no proof is awaited any more
        found = {**found, "missing": [], "forecastSeconds": None}
    return {
        **_rollout(subject),
        "arms": _arms(subject, tallies),
        "endpoints": _endpoints(subject),
        **{key: found.get(key, value) for key, value in _NO_VERDICT.items()},
        "bounds": all_bounds(found.get("metrics") or []),
        "candidates": _candidates(subject, tallies, found),
        "latched": latched.view(subject.state),
        "pairs": pairs(subject, tallies, front(subject)),
        "feedback": _feedback(subject),
        "held": held.view(subject.route, reader),
        "distances": distances([track for track in subject.tracks if track.rival == front(subject)]),
        "error": subject.error,
        "commands": offers(subject, now_s),
    }


def kept_verdict(subject: Subject) -> Json | None:
    """The last verdict on a route, as it is shown."""
    if subject.verdict is None:
        return None if subject.kept_verdict is None else dict(subject.kept_verdict)
    return verdict_document(subject.verdict)


def verdict_document(found: Verdict) -> Json:
    """A verdict with all its numbers; those that are not finite are None. Of several candidates with that on each."""
    each = [{"name": name, **_verdict(own)} for name, own in found.candidates]
    return {**_verdict(found), "candidates": each}


def _verdict(found: Verdict) -> Json:
    return {
        "metrics": [{**_plain(reading), "text": reading.text} for reading in found.metrics],
        "ratio": _plain(found.ratio),
        "missing": list(found.missing),
        "forecastSeconds": _finite(found.forecast_s),
        "abortEvidence": _finite(found.abort_evidence),
        "abortNeeded": _finite(found.abort_needed),
        "contest": found.contest_text,
        "winner": found.winner,
        "ramp": None if found.ramp is None else _plain(found.ramp),
        "abort": found.abort,
        "decidedBy": found.decided_by,
        "reason": found.reason,
        "proven": found.proven,
        "inconclusive": found.inconclusive,
        "stage": found.stage,
        "stageStable": found.stage_stable,
        "stageCandidate": found.stage_candidate,
        "stagePairs": found.stage_pairs,
        "stageSeconds": found.stage_seconds,
        "slices": found.slices,
    }


def workers(reader: Reader, now_s: float) -> list[Json]:
    """The workers by their own cells. `now_s` is the ledger's clock."""
    found = []
    for worker in reader.workers():
        cells = reader.worker(worker)
        found.append({
            "index": worker,
            "pid": int(cells[at.W_PID]),
            "generation": int(cells[at.W_GENERATION]),
            "connections": int(cells[at.W_CONNECTIONS]),
            "inFlight": int(cells[at.W_IN_FLIGHT]),
            "alive": is_alive(cells[at.W_HEARTBEAT], now_s),
        })  # fmt: skip
    return found


def store(launch: Launch, error: str) -> Json:
    """Where state is kept, and why that fails."""
    return {"url": launch.store_url, "instance": launch.instance, "error": error or None}


def entry(written: Entry) -> Json:
    """A line of the journal."""
    return {
        "id": written.id,
        "at": written.at_s,
        "route": written.route,
        "kind": written.kind,
        "actor": written.actor,
        "text": written.text,
        "details": dict(written.details),
        "config": written.config,
        "hash": written.hash,
    }


def _rollout(subject: Subject) -> Json:
    state, plan = subject.state, subject.plan
    live = [ref.name for ref in subject.route.backend_refs if ref.role == "stable"]
    stable = plan.stable if plan else (live[0] if live else "")
    return {
        "name": subject.name,
        "match": [_match(match) for match in subject.route.match],
        "strategy": plan.strategy if plan else "",
        "stable": stable,
        "candidate": front(subject) or (plan.candidate if plan else ""),
        "racing": list(state.racing) if state and state.race else [],
        "phase": str(state.phase) if state else "",
        "verdict": state.verdict if state else "",
        "winner": steps.winner(plan, state.phase, state.verdict, state.weight_ppm) if plan and state else "",
        "reason": _reason(subject),
        "decidedBy": state.decided_by if state else "",
        "baseline": plan.baseline if plan else "",
        "step": state.step if state else 0,
        "steps": steps.words(plan) if plan else [],
        "stage": state.stage if state else 0,
        "attempt": state.attempt if state else 0,
        "weight": _percent(state.weight_ppm) if state else 0.0,
        "mirror": _percent(state.mirror_ppm) if state else 0.0,
        "startedAt": state.started_s if state else None,
        "stageStartedAt": state.stage_started_s if state else None,
        "endedAt": state.ended_s if state else None,
    }


def _reason(subject: Subject) -> str:
    """Why a rollout is where it is. While the weight of a ramp holds, that is what its evidence says at this moment."""
    state, verdict = subject.state, subject.verdict
    if state is None:
        return ""
    holds = state.reason == moves.waits_for_weight(state) and verdict is not None and verdict.stage == state.stage
    return verdict.ramp.text if holds and verdict is not None and verdict.ramp is not None else state.reason


def _endpoints(subject: Subject) -> list[Json]:
    """The endpoints of both versions, where they are replaced one by one: stable's first."""
    state = subject.state
    return [
        {"backend": rolls.runs_at(state, place), "address": place.address, "status": place.status}
        for place in (state.places if state is not None else ())
        if state is not None
    ]


def _arms(subject: Subject, tallies: Mapping[Arm, ArmTally]) -> list[Json]:
    layout = subject.layout
    weights = {(arm.backend, arm.role): _percent(arm.ppm) for arm in layout.arms}
    copies = {(mirror.backend, "shadow"): 0.0 for mirror in layout.mirrors}
    tracks = holdings.shown(subject.tracks)
    versions = holdings.of_rollout(subject.state)
    known = {**weights, **copies}
    for arm, counted in tallies.items():
        if counted.totals.arrived and arm[0] in versions:
            known.setdefault(arm, 0.0)
    return [
        _arm(subject, arm, weight, tallies.get(arm, ArmTally.empty()), tracks.get(arm)) for arm, weight in known.items()
    ]


def _arm(subject: Subject, arm: Arm, weight: float, counted: ArmTally, track: Track | None) -> Json:
    backend, role = arm
    sums = None if track is None else track.sums.get(role)
    totals = counted.totals
    knows_users = subject.route.session_affinity is not None and role != "shadow"
    return {
        "backend": backend,
        "role": role,
        "weight": weight,
        "requests": totals.arrived,
        "failed": totals.failed,
        "failedToClients": totals.failed_to_clients,
        "late": totals.late,
        "lost": totals.lost,
        "inFlight": totals.in_flight,
        "users": user_count(counted.users) if knows_users else None,
        "statuses": {str(status): count for status, count in sorted(totals.statuses.items())},
        "faults": {FACTS[fault].flag: count for fault, count in totals.faults.items()},
        "retries": {RETRY_FLAGS[retry]: count for retry, count in sorted(totals.retries.items())},
        "skips": {SKIP_FLAGS[skip]: count for skip, count in totals.skips.items()},
        "repeats": {REPEAT_FLAGS[repeat]: count for repeat, count in sorted(totals.repeats.items())},
        "latencyMs": _latency(sums),
        "labels": {} if sums is None else {name: _shares(labels) for name, labels in sums.labels.items()},
        "numbers": {} if sums is None else _numbers(sums),
        "feedback": _told(subject, arm),
    }


def _told(subject: Subject, arm: Arm) -> Json | None:
    """What was told of an arm's answers; None where nothing can be."""
    if subject.route.takes_feedback is None or arm[1] == "shadow":
        return None
    heard = subject.collected.truths.sums.get(arm, Heard())
    return {
        "truths": int(heard.told),
        "wrong": heard.wrong / heard.n if heard.n else None,
        "logLoss": heard.loss / heard.losses if heard.losses else None,
    }


def _feedback(subject: Subject) -> Json | None:
    rules = subject.route.takes_feedback
    return None if rules is None else {"window": rules.window, "waiting": subject.collected.truths.waiting}


def _latency(sums: ArmCounts | None) -> dict[str, float | None]:
    """Quantiles in milliseconds at the geometric middle of their bucket, so exact to 0.5 %."""
    if sums is None or not sums.latency.any():
        return dict.fromkeys(_QUANTILES)
    return {name: round(1000 * GRID.quantile_s(sums.latency, quantile), 4) for name, quantile in _QUANTILES.items()}


def _shares(labels: Mapping[str, float]) -> dict[str, float]:
    total = sum(labels.values())
    return {label: count / total for label, count in sorted(labels.items(), key=lambda item: -item[1])} if total else {}


def _numbers(sums: ArmCounts) -> Json:
    found = {}
    for name, moments in sums.numbers.items():
        if moments.n:
            sd = math.sqrt(moments.scatter / (moments.n - 1)) if moments.n > 1 else 0.0
            found[name] = {"mean": moments.total / moments.n, "sd": sd, "n": moments.n}
    return found


def _candidates(subject: Subject, tallies: Mapping[Arm, ArmTally], found: Json) -> list[Json]:
    """Several candidates, each with what is known of it; nothing where there is one."""
    state = subject.state
    if state is None:
        return []
    own = {each["name"]: each for each in found.get("candidates") or ()}
    weights = {arm.backend: _percent(arm.ppm) for arm in subject.layout.arms}
    documents = []
    for runner in state.race:
        ended = state.verdict if state.ended_s is not None and runner.name == state.candidate else ""
        documents.append({
            "name": runner.name,
            "racing": not runner.verdict and state.ended_s is None,
            "weight": weights.get(runner.name, 0.0),
            "verdict": runner.verdict or ended,
            "decidedBy": runner.decided_by,
            "reason": runner.reason,
            "leftAt": runner.left_s,
            **{key: own.get(runner.name, {}).get(key, value) for key, value in _OF_CANDIDATE.items()},
            "bounds": all_bounds(own.get(runner.name, {}).get("metrics") or []),
            "pairs": pairs(subject, tallies, runner.name),
        })  # fmt: skip
    return documents


def _match(match: Match) -> str:
    parts = [] if match.method is None else [f"method {match.method}"]
    parts += [] if match.path is None else [f"path {_text(match.path)}"]
    for what, named in (("header", match.headers), ("query", match.query), ("cookie", match.cookies)):
        parts += [f"{what} {name} {_text(text)}" for name, text in named.items()]
    return " and ".join(parts) or "everything"


def _text(text: StringMatch) -> str:
    return f"{text.kind} {text.value}"


def _percent(ppm: int) -> float:
    return ppm * 100 / CIRCLE


def _plain(reading: object) -> Json:
    """A dataclass of plain values with its keys in camelCase; what is not finite is None: JSON has no word for it."""
    assert dataclasses.is_dataclass(reading)
    found = {}
    for field in dataclasses.fields(reading):
        first, *others = field.name.split("_")
        value = getattr(reading, field.name)
        found[first + "".join(map(str.capitalize, others))] = _finite(value) if isinstance(value, float) else value
    return found


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)

"""Prometheus metrics, read from the ledger and the controller at each scrape.

Nothing is counted twice: a counter is what the ledger holds now plus what was kept of the rows that were given back.
Workers' own counters live in the ledger, which outlives workers and controller; the others start again with the
controller, which Prometheus takes for what it is, a restart.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.admin import captured
from proxy.admin.latency import Arm, Latencies
from proxy.admin.surface import Controls, Json
from proxy.control.endpoints.standing import STATES as ENDPOINT_STATES
from proxy.control.machine.rollout import Phase
from proxy.faults import ATTEMPTED, FACTS, REPEAT_FLAGS, RETRY_FLAGS, SKIP_FLAGS, Fault, Repeat, Retry, Skip
from proxy.ledger.layout import (
    W_ACCEPTED,
    W_CONNECTIONS,
    W_GENERATION,
    W_IN_FLIGHT,
    W_LOG_DROPPED,
    W_LOGGED,
    W_REFUSED,
    W_TURNED_AWAY,
    W_UPSTREAM_OPENED,
    W_UPSTREAM_REUSED,
)
from proxy.ledger.reader import Totals

_ARM: Final = ("route", "backend", "role")


def registry(controls: Controls, latencies: Latencies) -> CollectorRegistry:
    """All metrics of this proxy, and those of the controller's process, as a registry of its own."""
    own = CollectorRegistry()
    own.register(_Exposition(controls, latencies))
    ProcessCollector(registry=own)
    return own


@dataclass(slots=True)
class _Sums:
    """Totals of one arm over all workers, rows and stages."""

    in_flight: int = 0
    retries: Counter[Retry] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    skips: Counter[Skip] = field(default_factory=Counter)
    repeats: Counter[Repeat] = field(default_factory=Counter)

    def add(self, totals: Totals, live: bool) -> None:
        self.in_flight += totals.in_flight if live else 0
        self.retries.update(totals.retries)
        self.statuses.update(totals.statuses)
        self.faults.update(totals.faults)
        self.skips.update(totals.skips)
        self.repeats.update(totals.repeats)


class _Exposition(Collector):
    """Answers each scrape from what is there."""

    def __init__(self, controls: Controls, latencies: Latencies) -> None:
        self._controls = controls
        self._latencies = latencies

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not scrape to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metric families."""
        controls = self._controls
        status = controls.status()
        routes = [controls.route(summary["name"]) for summary in controls.routes()]
        yield InfoMetricFamily(
            "understudy_build",
            "The release of Understudy and the Python that runs it.",
            {"version": str(status["version"]), "python": platform.python_version()},
        )
        yield from _control_plane(status)
        yield from self._workers(status)
        yield from _endpoints(status["backends"])
        yield from _arms(_sums(controls))
        yield from self._guards(routes)
        yield from _feedback(controls, routes)
        yield from self._webhooks(routes)
        yield from captured.exposed(controls, routes)
        yield self._durations()
        yield from _weights(routes)
        yield from _rollouts(routes)

    def _workers(self, status: Json) -> Iterator[Metric]:
        gauges = {
            W_GENERATION: _gauge("understudy_worker_generation", "Generation that a worker routes by.", "worker"),
            W_CONNECTIONS: _gauge("understudy_connections", "Open connections of clients.", "worker"),
            W_IN_FLIGHT: _gauge("understudy_worker_requests_in_flight", "Requests without their answer.", "worker"),
        }
        counters = {
            W_ACCEPTED: _counter("understudy_connections_accepted", "Connections of clients accepted.", "worker"),
            W_LOGGED: _counter("understudy_access_log_lines", "Lines of the access log written.", "worker"),
            W_LOG_DROPPED: _counter("understudy_access_log_dropped", "Lines of the access log dropped.", "worker"),
            W_TURNED_AWAY: _counter("understudy_connections_turned_away", "Closed at once, by a limit.", "worker"),
            W_UPSTREAM_OPENED: _counter("understudy_upstream_connections_opened", "Connections opened.", "worker"),
            W_UPSTREAM_REUSED: _counter("understudy_upstream_connections_reused", "Connections used again.", "worker"),
        }
        refused = _counter("understudy_refused_requests", "Requests that no version saw, by fault.", "fault")
        totals = dict.fromkeys((fault for fault in Fault if fault is not Fault.NONE), 0.0)
        reader = self._controls.reader
        for worker in reader.workers():
            cells = reader.worker(worker)
            for cell, family in (gauges | counters).items():
                family.add_metric([str(worker)], cells[cell])
            for fault in totals:
                totals[fault] += cells[W_REFUSED + fault]
        for fault, count in totals.items():
            refused.add_metric([FACTS[fault].flag], count)
        up = _gauge("understudy_worker_up", "Whether a worker lives and is connected.", "worker")
        for worker_status in status["workers"]:
            up.add_metric([str(worker_status["index"])], float(worker_status["alive"]))
        yield from (up, *gauges.values(), *counters.values(), refused)

    def _guards(self, routes: list[Json]) -> Iterator[Metric]:
        limited = _counter("understudy_rate_limited", "Requests that a rate limit of the route turned away.", "route")
        injected = _counter("understudy_injected", "Faults injected on purpose, by kind.", "route", "kind")
        direct = _counter("understudy_direct_requests", "Requests for a version by name; no evidence of it.", "route")
        waiting = _gauge("understudy_held_requests", "Requests that wait while their route is held.", "route")
        held = _counter("understudy_held", "Requests that had to wait while their route was held.", "route")
        ended = _counter("understudy_hold_ended", "Requests that wait no longer, by what became of them.",
                         "route", "result")  # fmt: skip
        refused = _counter("understudy_hold_refused", "Requests turned away at once while their route was held.",
                           "route")  # fmt: skip
        reader = self._controls.reader
        for name in (route["name"] for route in routes):
            totals = [reader.guards(worker, name) for worker in reader.workers()]
            limited.add_metric([name], sum(total.rate_limited for total in totals))
            injected.add_metric([name, "delay"], sum(total.delayed for total in totals))
            injected.add_metric([name, "abort"], sum(total.aborted for total in totals))
            direct.add_metric([name], sum(total.direct for total in totals))
            waiting.add_metric([name], sum(total.waiting for total in totals))
            held.add_metric([name], sum(total.held for total in totals))
            for result in ("released", "expired", "displaced", "left"):
                ended.add_metric([name, result], sum(getattr(total, result) for total in totals))
            refused.add_metric([name], sum(total.hold_refused for total in totals))
        yield from (limited, injected, direct, waiting, held, ended, refused)

    @staticmethod
    def _webhooks(routes: list[Json]) -> Iterator[Metric]:
        waiting = _gauge("understudy_webhook_waiting", "News that a webhook has yet to be told.", "route", "webhook")
        told = _counter("understudy_webhook_told", "News that a webhook was told.", "route", "webhook")
        lost = _counter("understudy_webhook_given_up", "News that a webhook was not told in time.", "route", "webhook")
        for route in routes:
            for hook in route["webhooks"]:
                labels = [route["name"], hook["name"]]
                waiting.add_metric(labels, hook["waiting"])
                told.add_metric(labels, hook["told"])
                lost.add_metric(labels, hook["givenUp"])
        yield from (waiting, told, lost)

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "understudy_request_duration_seconds",
            "Time from a request's arrival to the end of its answer; edges are exact to 1 %.",
            labels=_ARM,
        )
        for arm, histogram in sorted(self._latencies.gather(self._controls.rows()).items()):
            family.add_metric(arm, histogram.buckets(), histogram.total_s())
        return family


def _sums(controls: Controls) -> dict[Arm, _Sums]:
    sums: dict[Arm, _Sums] = {}
    for arm, totals in controls.retired_totals.items():
        sums.setdefault(arm, _Sums()).add(totals, live=False)
    for row in controls.rows():
        arm_sums = sums.setdefault((row.route, row.backend, row.role), _Sums())
        for worker in controls.reader.workers():
            live = controls.reader.totals(worker, row.index, row.tenant)
            if live is not None:
                arm_sums.add(live, live=True)
    return dict(sorted(sums.items()))


def _control_plane(status: Json) -> Iterator[Metric]:
    config = status["config"]
    yield GaugeMetricFamily(
        "understudy_config_last_reload_successful",
        "1 if the last configuration that was read is live, 0 if it was refused.",
        value=float(config["lastError"] is None),
    )
    yield GaugeMetricFamily(
        "understudy_store_available",
        "1 if the store can be written, 0 if rollouts stand still because it cannot.",
        value=float(not status["store"]["error"]),
    )
    store = status["store"]
    for name, text, value in (
        ("understudy_store_bytes", "What the store takes on disk, looked at once a minute.", store["bytes"]),
        ("understudy_store_max_bytes", "What it may take; beyond that the oldest goes.", store["maxBytes"]),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=float(value))
    removed = _counter("understudy_store_removed", "Rows that retention took away.", "what")
    for what, count in store["removed"].items():
        removed.add_metric([what], count)
    yield removed
    yield GaugeMetricFamily(
        "understudy_config_generation", "Generation of the snapshot pushed last.", value=float(config["generation"])
    )


def _endpoints(backends: list[Json]) -> Iterator[Metric]:
    endpoints = _gauge("understudy_backend_endpoints", "Endpoints of a backend by state.", "backend", "state")
    panic = _gauge("understudy_backend_panic", "Workers that ignore health, as too few are usable.", "backend")
    in_flight = _gauge("understudy_backend_requests_in_flight", "Requests and copies at a backend.", "backend")
    ejections = _counter("understudy_backend_ejections", "Endpoints left out for their failures.", "backend")
    for backend in backends:
        name, lines = backend["name"], backend["endpoints"]
        counts = Counter("out" if line["out"] else line["state"] for line in lines)
        for state in (
            *ENDPOINT_STATES,
            "out",
        ):  # who is being replaced is meant to be away, and no reason to wake anybody
            endpoints.add_metric([name, state], counts[state])
        panic.add_metric([name], backend["panic"])
        in_flight.add_metric([name], sum(line["inFlight"] for line in lines))
        ejections.add_metric([name], sum(line["ejections"] for line in lines))
    yield from (endpoints, panic, in_flight, ejections)


def _arms(sums: dict[Arm, _Sums]) -> Iterator[Metric]:
    requests = _counter("understudy_requests", "Finished requests by status; 0: no answer.", *_ARM, "code")
    faults = _counter("understudy_faults", "Finished requests by fault.", *_ARM, "fault")
    retries = _counter("understudy_retries", "Upstream attempts after the first, by result.", *_ARM, "result")
    denied = _counter("understudy_retries_denied", "Failures that were not tried again, by reason.", *_ARM, "reason")
    skips = _counter("understudy_mirror_skips", "Copies not sent or not compared.", "route", "backend", "reason")
    repeats = _counter(
        "understudy_mirror_repeats", "Requests asked of stable twice, by what came of it.", "route", "backend", "result"
    )
    in_flight = _gauge("understudy_requests_in_flight", "Requests without their answer.", *_ARM)
    skipped: Counter[tuple[str, str, Skip]] = Counter()
    repeated: Counter[tuple[str, str, Repeat]] = Counter()
    for arm, sum_ in sums.items():
        for code, count in sorted(sum_.statuses.items()):
            requests.add_metric([*arm, str(code)], count)
        for fault, count in sorted(sum_.faults.items()):
            faults.add_metric([*arm, FACTS[fault].flag], count)
        for skip, count in sum_.skips.items():
            skipped[arm[0], arm[1], skip] += count
        for repeat, count in sum_.repeats.items():
            repeated[arm[0], arm[1], repeat] += count
        for retry, count in sorted(sum_.retries.items()):
            (retries if retry in ATTEMPTED else denied).add_metric([*arm, RETRY_FLAGS[retry]], count)
        in_flight.add_metric(arm, sum_.in_flight)
    for (route, backend, skip), count in sorted(skipped.items()):
        skips.add_metric([route, backend, SKIP_FLAGS[skip]], count)
    for (route, backend, repeat), count in sorted(repeated.items()):
        repeats.add_metric([route, backend, REPEAT_FLAGS[repeat]], count)
    yield from (requests, faults, retries, denied, skips, repeats, in_flight)


def _feedback(controls: Controls, routes: list[Json]) -> Iterator[Metric]:
    accepted = _counter("understudy_feedback", "Truths that count, by what they said.", *_ARM, "outcome")
    refused = _counter("understudy_feedback_refused", "Truths that do not count, by reason.", "route", "reason")
    waiting = _gauge("understudy_feedback_waiting", "Truths taken, and not yet in the evidence.", "route")
    for labels, count in sorted(controls.feedback.accepted.items()):
        accepted.add_metric(labels, count)
    for (route, reason), count in sorted(controls.feedback.refused.items()):
        refused.add_metric([route, str(reason)], count)
    for document in routes:
        if document["feedback"] is not None:
            waiting.add_metric([document["name"]], document["feedback"]["waiting"])
    yield from (accepted, refused, waiting)


def _weights(routes: list[Json]) -> Iterator[Metric]:
    weight = _gauge("understudy_weight_percent", "Share of live traffic, in percent.", *_ARM)
    mirror = _gauge("understudy_mirror_percent", "Share of stable's traffic copied to the candidate.", "route")
    for route in routes:
        for arm in route["arms"]:
            weight.add_metric([route["name"], arm["backend"], arm["role"]], float(arm["weight"] or 0))
        mirror.add_metric([route["name"]], float(route["mirror"] or 0))
    yield from (weight, mirror)


def _rollouts(routes: list[Json]) -> Iterator[Metric]:
    phase = _gauge("understudy_rollout_phase", "1 for the phase that a rollout is in, 0 for the others.",
                   "route", "candidate", "phase")  # fmt: skip
    step = _gauge("understudy_rollout_step", "Number of the step that a rollout is at, from 0.", "route", "candidate")
    evidence = _gauge(
        "understudy_evidence",
        "Betting odds against the null: side=harm that a metric is worse than its margin, side=pass that it is not.",
        "route", "metric", "side",
    )  # fmt: skip
    needed = _gauge("understudy_evidence_needed", "Odds at which a metric passes.", "route", "metric")
    abort = _gauge("understudy_abort_evidence", "Weighted odds of harm over all metrics.", "route")
    abort_needed = _gauge("understudy_abort_evidence_needed", "Odds at which a rollout is aborted.", "route")
    spent = _gauge("understudy_ramp_bad_requests", "Bad requests: kind=spent, at_stake, budget.", "route", "kind")
    worst = _gauge("understudy_ramp_worst_ratio", "Share of requests that may be bad, as far as is known.", "route")
    for route in routes:
        if not route["phase"]:
            continue
        name, candidate = route["name"], route["candidate"]
        for known in Phase:
            phase.add_metric([name, candidate, known.value], float(route["phase"] == known))
        step.add_metric([name, candidate], float(route["step"]))
        for metric in route["metrics"]:
            _add(evidence, metric["evidenceHarm"], name, metric["name"], "harm")
            _add(evidence, metric["evidencePass"], name, metric["name"], "pass")
            _add(needed, metric["neededPass"], name, metric["name"])
        if route["ramp"] is not None:
            for kind, member in (("spent", "spent"), ("at_stake", "atStake"), ("budget", "budget")):
                spent.add_metric([name, kind], route["ramp"][member])
            worst.add_metric([name], route["ramp"]["worst"])
        _add(abort, route["abortEvidence"], name)
        _add(abort_needed, route["abortNeeded"], name)
    yield from (phase, step, evidence, needed, abort, abort_needed, spent, worst)
    yield from _candidates(routes)


def _candidates(routes: list[Json]) -> Iterator[Metric]:
    """Where a rollout has several: each by itself."""
    racing = _gauge("understudy_candidate_racing", "1 while one of several candidates is in the race, else 0.",
                    "route", "candidate")  # fmt: skip
    evidence = _gauge("understudy_candidate_evidence", "Of one of several candidates, as understudy_evidence.",
                      "route", "candidate", "metric", "side")  # fmt: skip
    abort = _gauge("understudy_candidate_abort_evidence", "Of one of several candidates, as understudy_abort_evidence.",
                   "route", "candidate")  # fmt: skip
    for route in routes:
        for each in route["candidates"]:
            labels = (route["name"], each["name"])
            racing.add_metric(labels, float(each["racing"]))
            for metric in each["metrics"]:
                _add(evidence, metric["evidenceHarm"], *labels, metric["name"], "harm")
                _add(evidence, metric["evidencePass"], *labels, metric["name"], "pass")
            _add(abort, each["abortEvidence"], *labels)
    yield from (racing, evidence, abort)


def _add(family: GaugeMetricFamily, value: float | None, *labels: str) -> None:
    """A sample, unless its value is not known: one without a value would spoil the whole scrape."""
    if value is not None:
        family.add_metric(labels, value)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)

"""The metrics that a scrape sees, over a real ledger with traffic in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.exposition import registry
from proxy.admin.latency import Latencies
from proxy.control.evidence.truths import Refusal
from proxy.control.machine.rollout import Phase
from proxy.ledger.guards import CAPTURE_DROPPED, CAPTURE_LIMITED
from tests.support.fake_controller import NOW_SLICE_S, FakeController, problem


def scrape(controller: FakeController):
    """Samples by name and labels, after the text went through Prometheus' own parser."""
    latencies = Latencies(controller.reader, lambda: NOW_SLICE_S + 1)
    text = generate_latest(registry(controller, latencies)).decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value

    def value(name: str, **labels: str) -> float | None:
        return samples.get((name, *sorted(labels.items())))

    value.samples = samples
    return value


STABLE = {"route": "fraud", "backend": "fraud-v1", "role": "stable"}
CANARY = {"route": "fraud", "backend": "fraud-v2", "role": "canary"}


def test_requests_are_counted_over_workers_and_past_stages(controller):
    """Broken: a counter falls when a stage ends, or misses a worker."""
    value = scrape(controller)
    assert value("understudy_requests_total", **STABLE, code="200") == 998 + 60
    assert value("understudy_requests_total", **STABLE, code="504") == 2
    assert value("understudy_requests_total", **CANARY, code="200") == 6
    assert value("understudy_requests_total", **CANARY, code="502") == 1
    assert value("understudy_faults_total", **CANARY, fault="upstream-reset") == 1
    assert value("understudy_faults_total", **STABLE, fault="request-timeout") == 2
    assert value("understudy_retries_total", **STABLE, result="resent") == 3
    assert value("understudy_retries_total", **STABLE, result="succeeded") == 2
    assert value("understudy_retries_denied_total", **STABLE, reason="over-budget") == 5
    assert value("understudy_requests_in_flight", **CANARY) == 1
    assert value("understudy_requests_in_flight", **STABLE) == 0


def test_skipped_copies_are_counted_by_reason(controller):
    """Broken: copies vanish in silence."""
    value = scrape(controller)
    for reason in ("busy", "body-too-large"):
        assert value("understudy_mirror_skips_total", route="fraud", backend="fraud-v2", reason=reason) == 1


def test_what_stable_was_asked_twice_is_counted_by_result(controller):
    """Broken: nobody sees how noisy a model is, or that its noise is not measured at all."""
    value = scrape(controller)
    for result, count in (("agreed", 2), ("disagreed", 2), ("busy", 1)):
        labels = {"route": "fraud", "backend": "fraud-v2", "result": result}
        assert value("understudy_mirror_repeats_total", **labels) == count


def test_what_a_rate_limit_turned_away_is_counted_by_route(controller):
    """Broken: nobody sees which limit is too low."""
    assert scrape(controller)("understudy_rate_limited_total", route="fraud") == 2
    assert scrape(controller)("understudy_held_total", route="fraud") == 2
    assert scrape(controller)("understudy_hold_ended_total", route="fraud", result="left") == 2
    assert scrape(controller)("understudy_held_requests", route="fraud") == 6
    assert scrape(controller)("understudy_hold_refused_total", route="fraud") == 0
    assert scrape(controller)("understudy_webhook_waiting", route="fraud", webhook="chat") == 1
    assert scrape(controller)("understudy_webhook_told_total", route="fraud", webhook="chat") == 7
    assert scrape(controller)("understudy_webhook_given_up_total", route="fraud", webhook="chat") == 2


def test_requests_for_a_version_by_name_are_counted_apart(controller):
    """Broken: nobody sees that traffic goes by the judge."""
    assert scrape(controller)("understudy_direct_requests_total", route="fraud") == 2


def test_injected_faults_are_counted_by_kind(controller):
    """Broken: a game day that was forgotten looks like an outage."""
    value = scrape(controller)
    assert value("understudy_injected_total", route="fraud", kind="abort") == 2
    assert value("understudy_injected_total", route="fraud", kind="delay") == 0


def test_durations_are_a_histogram(controller):
    """Broken: latency graphs are wrong, or `histogram_quantile` fails."""
    value = scrape(controller)
    name = "understudy_request_duration_seconds"
    assert value(f"{name}_count", **STABLE) == 60
    assert value(f"{name}_bucket", **STABLE, le="+Inf") == 60
    assert value(f"{name}_bucket", **STABLE, le="0.005") == 0
    assert value(f"{name}_bucket", **STABLE, le="0.1") == 60
    assert value(f"{name}_bucket", **STABLE, le="0.025") == pytest.approx(30, abs=2)
    assert value(f"{name}_sum", **STABLE) == pytest.approx(2 * sum(0.010 + 0.001 * i for i in range(30)), rel=0.006)
    assert value(f"{name}_count", **CANARY) == 7


def test_weights_are_those_of_the_snapshot(controller):
    """Broken: a dashboard shows another split than the one that runs."""
    value = scrape(controller)
    assert value("understudy_weight_percent", **STABLE) == 95
    assert value("understudy_weight_percent", **CANARY) == 5
    assert value("understudy_mirror_percent", route="fraud") == 0


def test_a_rollout_is_in_exactly_one_phase(controller):
    """Broken: alerts on a phase fire for two, or for none."""
    value = scrape(controller)
    phases = {k: v for k, v in value.samples.items() if k[0] == "understudy_rollout_phase"}
    assert len(phases) == len(Phase)
    assert sum(phases.values()) == 1
    labels = {"route": "fraud", "candidate": "fraud-v2"}
    assert value("understudy_rollout_phase", **labels, phase="Progressing") == 1
    assert value("understudy_rollout_step", **labels) == 2


def test_evidence_is_there_for_each_metric_and_side(controller):
    """Broken: one cannot graph how near a decision is."""
    value = scrape(controller)
    assert value("understudy_evidence", route="fraud", metric="errors", side="harm") == 0.3
    assert value("understudy_evidence", route="fraud", metric="errors", side="pass") == 4.25
    assert value("understudy_evidence_needed", route="fraud", metric="errors") == 20
    assert value("understudy_abort_evidence", route="fraud") == 2.5
    assert value("understudy_abort_evidence_needed", route="fraud") == 20


def test_several_candidates_are_told_apart(controller):
    """Broken: the evidence of the one in front is taken for that of all, or nobody sees who has left."""
    metrics = controller.document["metrics"]
    open_, left = ({"name": name, "racing": racing, "metrics": metrics, "abortEvidence": odds}
                   for name, racing, odds in (("b", True, 0.5), ("c", False, 40.0)))  # fmt: skip
    assert "understudy_candidate_racing" not in str(scrape(controller).samples)
    controller.document["candidates"] = [open_, left]
    value = scrape(controller)
    assert [value("understudy_candidate_racing", route="fraud", candidate=name) for name in "bc"] == [1, 0]
    assert value("understudy_candidate_abort_evidence", route="fraud", candidate="c") == 40
    labels = {"route": "fraud", "candidate": "b", "metric": "errors"}
    assert value("understudy_candidate_evidence", **labels, side="pass") == 4.25


def test_evidence_without_a_value_is_left_out(controller):
    """Broken: one number that is not finite takes all metrics away."""
    controller.document["metrics"][0] |= {"evidenceHarm": None, "evidencePass": None}
    controller.document |= {"abortEvidence": None, "abortNeeded": None}
    value = scrape(controller)
    assert value("understudy_evidence", route="fraud", metric="errors", side="harm") is None
    assert value("understudy_evidence", route="fraud", metric="latency.p99", side="harm") == 0.3
    assert value("understudy_abort_evidence", route="fraud") is None


def test_workers_tell_their_generation_and_connections(controller):
    """Broken: a worker that did not get a snapshot goes unnoticed."""
    value = scrape(controller)
    for worker in ("0", "1"):
        assert value("understudy_worker_generation", worker=worker) == 7
        assert value("understudy_connections_accepted_total", worker=worker) == 50
        assert value("understudy_connections_turned_away_total", worker=worker) == 4
        assert value("understudy_access_log_dropped_total", worker=worker) == 2
    assert value("understudy_connections", worker="1") == 4
    assert value("understudy_worker_up", worker="0") == 1
    assert value("understudy_worker_up", worker="1") == 0
    assert value("understudy_refused_requests_total", fault="no-route") == 2
    assert value("understudy_refused_requests_total", fault="head-too-large") == 0


def test_a_refused_configuration_shows(controller):
    """Broken: a bad edit goes unnoticed until the next restart."""
    value = scrape(controller)
    assert value("understudy_config_last_reload_successful") == 1
    assert value("understudy_config_generation") == 7
    controller.last_error = {"at": 0.0, "problems": [problem()]}
    assert scrape(controller)("understudy_config_last_reload_successful") == 0


def test_a_failing_store_shows(controller):
    """Broken: rollouts stand still, and no alert fires."""
    assert scrape(controller)("understudy_store_available") == 1
    controller.store_error = "disk full"
    assert scrape(controller)("understudy_store_available") == 0


def test_labels_from_outside_are_escaped(controller):
    """Broken: a quote in a route's name makes the whole scrape unreadable."""
    controller.document["name"] = 'fr"au\\d\n'
    controller.route = lambda name: controller.document if name.startswith("fr") else controller.plain
    assert scrape(controller)("understudy_mirror_percent", route='fr"au\\d\n') == 0


def test_truths_are_counted(controller):
    """Broken: nobody notices that truths have stopped to come, or are all refused."""
    controller.feedback.accepted["fraud", "fraud-v2", "canary", "wrong"] += 3
    controller.feedback.refused["fraud", Refusal.LATE] += 2
    value = scrape(controller)
    arm = {"route": "fraud", "backend": "fraud-v2", "role": "canary"}
    assert value("understudy_feedback_total", **arm, outcome="wrong") == 3
    assert value("understudy_feedback_refused_total", route="fraud", reason="late") == 2
    assert value("understudy_feedback_waiting", route="fraud") == 12


def test_endpoints_are_counted_by_state(controller):
    """Broken: no alert can say that replicas of a version are down."""
    value = scrape(controller)
    counts = {state: value("understudy_backend_endpoints", backend="fraud-v1", state=state)
              for state in ("healthy", "unhealthy", "ejected", "unknown")}  # fmt: skip
    assert counts == {"healthy": 1, "unhealthy": 1, "ejected": 1, "unknown": 0}
    assert value("understudy_backend_endpoints", backend="fraud-v2", state="unhealthy") == 0
    assert value("understudy_backend_endpoints", backend="fraud-v2", state="out") == 0
    assert value("understudy_backend_panic", backend="fraud-v2") == 2
    assert value("understudy_backend_requests_in_flight", backend="fraud-v1") == 6
    assert value("understudy_backend_ejections_total", backend="fraud-v1") == 3


def test_the_document_names_every_metric(controller):
    """Broken: docs/admin-api.md is stale."""
    document = (Path(__file__).parents[3] / "docs" / "admin-api.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(understudy_\w+)`", document, re.M))
    latencies = Latencies(controller.reader, lambda: NOW_SLICE_S + 1)
    text = generate_latest(registry(controller, latencies)).decode()
    assert listed == set(re.findall(r"^# TYPE (understudy_\w+)", text, re.M))


def test_captures_and_what_was_not_captured(controller):
    """Broken: nobody sees that captures are lost, and takes a few for all."""
    for writer in controller.writers:
        writer.guards.route("fraud").add(CAPTURE_LIMITED)
    controller.writers[1].guards.route("fraud").add(CAPTURE_DROPPED)
    value = scrape(controller)
    assert value("understudy_captures_total", route="fraud", kind="sample") == 7
    found = {reason: value("understudy_captures_dropped_total", route="fraud", reason=reason)
             for reason in ("limit", "worker", "store")}  # fmt: skip
    assert found == {"limit": 2, "worker": 1, "store": 3}

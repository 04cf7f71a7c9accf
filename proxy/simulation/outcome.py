"""What came of a simulation: as JSON for machines, and as the report that `understudy report` would show."""

from __future__ import annotations

from typing import Any

from proxy.admin import report, words
from proxy.control.views import routes as views
from proxy.simulation.clock import Simulation

Json = dict[str, Any]


def document(simulation: Simulation) -> Json:
    """The outcome. What is not finite, or not known, is null; times are seconds since the first record."""
    route = views.route(simulation.subject, simulation.reader, simulation.took_s)
    return {
        "route": route["name"],
        "stable": route["stable"],
        "candidate": route["candidate"],
        "verdict": route["verdict"] or "Inconclusive",
        "phase": route["phase"],
        "atSeconds": round(simulation.took_s, 6),
        "decidedBy": route["decidedBy"],
        "reason": route["reason"],
        "looks": simulation.looks,
        "records": simulation.records,
        "ignored": simulation.ignored,
        "truths": simulation.truths,
        "withoutUser": simulation.unknown,
        "stage": simulation.stage,
        "missing": route["missing"],
        "forecastSeconds": route["forecastSeconds"],
        "abortEvidence": route["abortEvidence"],
        "abortNeeded": route["abortNeeded"],
        "sampleRatio": route["ratio"],
        "metrics": [_metric(reading) for reading in route["metrics"]],
        "candidates": [
            {**each, "metrics": [_metric(reading) for reading in each["metrics"]]} for each in route["candidates"]
        ],
        "timeline": [
            {"atSeconds": round(moment.seconds, 6), "kind": moment.what.kind, "text": moment.what.text}
            for moment in simulation.moments
        ],
    }


def _metric(reading: Json) -> Json:
    """One metric; `n` are the samples of both versions together, of pairs the pairs."""
    paired = reading["kind"] in ("pair", "slowdown")
    own = {key: value for key, value in reading.items() if key not in ("low", "high")}
    return {
        **own,
        "interval": [reading["low"], reading["high"]],
        "n": reading["nCandidate"] if paired else reading["nStable"] + reading["nCandidate"],
    }


def markdown(simulation: Simulation) -> str:
    """The report: the conclusion, what it rests on, and what happened when."""
    route = views.route(simulation.subject, simulation.reader, simulation.took_s)
    entries = [
        {"at": moment.at_s, "kind": moment.what.kind, "actor": "records", "text": moment.what.text}
        for moment in reversed(simulation.moments)
    ]
    return _opening(simulation) + "\n" + report.markdown(route, entries)


def _opening(simulation: Simulation) -> str:
    at = words.span(simulation.took_s)
    verdict = (simulation.state.verdict if simulation.state else "") or "Inconclusive"
    counted = [(simulation.records, "record"), (simulation.looks, "look")]
    records, looks = (f"{words.count(number)} {what}{'s' * (number != 1)}" for number, what in counted)
    return f"Simulated on {records} with {looks}; **{verdict}** after {at}.\n"

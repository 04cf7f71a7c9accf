"""The Markdown report, from the JSON of a route."""
# ruff: noqa: RUF001 (reports have dashes and minus signs)

from __future__ import annotations

import re

import pytest

from proxy.admin.report import markdown
from tests.support.fake_controller import STARTED_S, arm, history_entries, plain_document, route_document


@pytest.fixture
def route():
    return route_document()


def section(text: str, title: str) -> str:
    """The part under a heading of the second level."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    assert match is not None, f"no section {title!r} in:\n{text}"
    return match.group(1)


def test_every_table_is_well_formed(route):
    """Broken: a label or a reason breaks a table, and the report shows rubbish."""
    tables = re.findall(r"(?:^\|.*\n)+", markdown(route, history_entries()), re.M)
    assert len(tables) >= 7
    for table in tables:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_what_clients_saw_is_told_apart_from_what_is_judged(route):
    """Broken: people who see the errors of first attempts look for a trouble that their clients do not have, or believe
    that there is none."""
    text = markdown(route, [])
    assert "Of the 14 failures of fraud-v2 (canary), which are those of first attempts, clients saw 5" in text
    assert "failures of fraud-v1" not in text
    assert "| retry succeeded | 0 | 9 | 0 |" in section(text, "Outcomes")


def test_texts_from_outside_are_shown_and_never_interpreted(route):
    """Broken: a model's answer can put a script into the report."""
    text = markdown(route, history_entries())
    assert "<script" not in text
    assert "&lt;script>alert(1)&lt;/script>\\|x " in text
    assert "go on \\| after lunch" in text


def test_endpoints_that_are_replaced_are_shown(route):
    """Broken: nobody sees which endpoints are old, new or away in the middle of a rolling update."""
    assert "## Endpoints" not in markdown(route, [])
    route["endpoints"] = [
        {"backend": "fraud-v1", "address": "http://a:1", "status": "leaving"},
        {"backend": "fraud-v2", "address": "http://b:1", "status": "warming"},
    ]
    assert section(markdown(route, []), "Endpoints").splitlines()[1:5] == [
        "| version | endpoint |  |",
        "| --- | --- | --- |",
        "| fraud-v1 | http://a:1 | draining |",
        "| fraud-v2 | http://b:1 | starting slowly |",
    ]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("Succeeded", "fraud-v2 was promoted: it serves all traffic."),
        ("Aborted", "fraud-v2 was aborted: fraud-v1 serves all traffic."),
        ("Failed", "The rollout of fraud-v2 failed: fraud-v1 serves all traffic."),
        ("Paused", "Paused with fraud-v2 at 5 % of the traffic."),
        ("Swapping", "fraud-v2 takes the place of fraud-v1: requests wait until it is there."),
        ("Reverting", "fraud-v1 is put back in the place of fraud-v2: requests wait until it is there."),
        ("Waiting", "Waiting for traffic to compare fraud-v2 with fraud-v1."),
        ("Promoting", "fraud-v2 is being promoted."),
        ("Progressing", "fraud-v2 is being compared with fraud-v1 at 5 % of the traffic."),
    ],
)
def test_the_conclusion_comes_first(route, phase, said):
    """Broken: whoever opens the report must search for what was decided."""
    route["phase"] = phase
    head = markdown(route, []).splitlines()[:6]
    assert head[0] == "# fraud: fraud-v2 against fraud-v1"
    assert f"**{said}**" in head
    assert f"> {route['reason']}" in head


def test_an_ended_rollout_says_when_and_how_long(route):
    """Broken: a report of the past looks like one of now."""
    route |= {"phase": "Aborted", "verdict": "Failed", "decidedBy": "errors", "endedAt": STARTED_S + 754}
    text = markdown(route, [])
    assert "| Ended | 2027-01-15 08:12:34 UTC |" in text
    assert "| Took | 13 min |" in text
    assert "| Decided by | errors |" in text
    assert "What a promotion still lacks" not in text


def test_metrics_show_numbers_odds_and_a_verdict_in_words(route):
    """Broken: the decision cannot be checked from its report."""
    text = section(markdown(route, []), "Metrics")
    errors = next(line for line in text.splitlines() if line.startswith("| errors |"))
    assert errors == (
        "| errors | 1.2 % | 1.41 % | +0.21 pp | -0.4 pp to +0.9 pp | 20% or 0.2pp "
        "| 4.2 : 1 | 1 : 3.3 | 19,000 / 1,000 | open: 4.2 : 1 of 20 : 1 |"
    )
    assert "| latency.p99 | 48 ms | 47 ms | -2.1 % |" in text
    assert "| prediction.label | " in text
    assert "worse than its margin" in text
    assert "| prediction.score | – | – | – | – |" in text
    assert "| pair.label (signal) | – | 1.41 % | – | 0.6 % to 2.3 % |" in text
    assert "- errors: 1.41 % against 1.2 %" in text
    assert "the candidate does harm is 2.5 : 1; at 20 : 1 it is aborted" in text


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"phase": "Baking", "weight": 100.0}, "fraud-v1 stays warm"),
        ({"phase": "Succeeded", "strategy": "mirror"}, "on copies: fraud-v1 serves all traffic"),
        ({"phase": "Succeeded", "winner": "none", "weight": 0.0}, "No winner"),
        ({"phase": "Succeeded", "winner": "candidate", "weight": 50.0}, "keeps 50 % of the traffic"),
        (
            {"phase": "Succeeded", "winner": "candidate", "weight": 100.0},
            "fraud-v2 wins: it is proven to be better, and",
        ),
        ({"phase": "Aborted", "winner": "stable"}, "fraud-v1 wins"),
        ({"phase": "Aborted", "strategy": "mirror", "verdict": "Inconclusive"}, "Not decided"),
    ],
)
def test_the_conclusion_fits_the_strategy(route, facts, said):
    """Broken: a rehearsal is said to have been promoted, or a winner to be nobody."""
    assert said in markdown({**route, **facts}, [])


def test_steps_show_where_the_rollout_is(route):
    """Broken: nobody sees how far it is."""
    text = section(markdown(route, []), "Steps")
    assert text.strip().splitlines() == [
        "- [x] setMirror 100 %",
        "- [x] setWeight 5 %",
        "- [ ] analysis of 1,000 samples **← here**",
        "- [ ] setWeight 50 %",
    ]
    route["steps"].append("analysis until a promotion is proven")
    route["step"] = 4
    assert section(markdown(route, []), "Steps").strip().splitlines()[3:] == [
        "- [x] setWeight 50 %",
        "- [ ] analysis until a promotion is proven **← here**",
    ]
    route["phase"] = "Succeeded"
    assert "here" not in section(markdown(route, []), "Steps")


def test_versions_labels_and_numbers_stand_side_by_side(route):
    """Broken: a shift in predictions is not seen."""
    text = markdown(route, [])
    versions = section(text, "Versions")
    assert "| fraud-v2 | canary | 5 % | 1,000 | 14 (1.4 %) | 4 | 101 | 12.3 ms | 48.1 ms | 1.2 s |" in versions
    assert "| fraud-v2 | shadow | – |" in versions
    labels = section(text, "Predicted labels")
    assert "| Label | fraud-v1 (stable) | fraud-v2 (canary) | Difference |" in labels
    assert "| legit | 97 % | 95 % | -2 pp |" in labels
    assert "| fraud | 3 % | 4 % | +1 pp |" in labels
    assert "| score | fraud-v2 | 0.0312 | 0.11 | 18,772 |" in section(text, "Predicted numbers")


def test_labels_of_the_candidate_are_compared_with_stables_also_beside_a_shadow(route):
    """Broken: the difference vanishes, or is that of the wrong version, while traffic is also mirrored."""
    route["arms"][2]["labels"] = {"label": {"legit": 0.5, "fraud": 0.5}}
    route["arms"].reverse()
    labels = section(markdown(route, []), "Predicted labels")
    assert "| legit | 50 % | 95 % | 97 % | -2 pp |" in labels


def test_outcomes_count_statuses_faults_and_skipped_copies(route):
    """Broken: how requests failed is not told."""
    text = section(markdown(route, []), "Outcomes")
    assert "| status none | 0 | 14 | 0 |" in text
    assert "| fault connect-failed | 0 | 14 | 0 |" in text
    assert "| copy skipped busy | 0 | 0 | 2 |" in text
    assert "| stable asked twice agreed | 0 | 0 | 48 |" in text


def test_pairs_show_where_the_versions_disagree(route):
    """Broken: it is not seen which label became which."""
    text = section(markdown(route, []), "Pairs")
    assert "### label: 6 (1.2 %) disagree" in text
    assert "Of 50 requests that stable was asked twice it differs from itself in 2 (4 %)." in text
    assert "| stable ↓ candidate → | legit | fraud |" in text
    assert "| legit | 480 | **2** |" in text
    assert "| fraud | **4** | 14 |" in text


def test_many_labels_are_cut_and_the_cut_is_said(route):
    """Broken: a report of a thousand classes is unreadable, or hides that some are left out."""
    names = [f"class-{i:02}" for i in range(30)]
    for one in route["arms"][:2]:
        one["labels"] = {"label": dict.fromkeys(names, 1 / 30)}
    cells = [[0] * 30 for _ in names]
    cells[29][28] = 5
    route["pairs"]["outputs"]["label"]["confusion"] = {"rows": names, "cells": cells}
    text = markdown(route, [])
    assert "… and 10 rarer labels." in section(text, "Predicted labels")
    pairs = section(text, "Pairs")
    assert "The 12 most frequent of 30 labels." in pairs
    assert "| class-29 |" in pairs


def test_an_unreliable_comparison_says_so_loudly(route):
    """Broken: people act on numbers that the ratio check has refused."""
    route["ratio"] |= {"flagged": True, "evidence": 4000.0}
    text = section(markdown(route, []), "Sample ratio")
    assert "**The comparison is unreliable" in text
    assert "| Evidence that the split is off | 4,000 : 1 |" in text
    route["ratio"] |= {"checked": "not checked", "text": "users are not known"}
    assert "users are not known" in section(markdown(route, []), "Sample ratio")


def test_evidence_that_cannot_be_read_is_told_first(route):
    """Broken: a rollout stands still, and nobody knows why."""
    route["error"] = "slice 7 of fraud-v2 is damaged"
    assert "nothing is decided: slice 7 of fraud-v2 is damaged**" in markdown(route, []).partition("## ")[0]


def test_what_is_missing_comes_with_a_forecast(route):
    """Broken: nobody knows how long to wait."""
    text = section(markdown(route, []), "What a promotion still lacks")
    assert "- 60 more samples of fraud-v2" in text
    assert "in about 13 min" in text


def test_the_timeline_runs_forward(route):
    """Broken: the story is told backwards."""
    rows = section(markdown(route, history_entries()), "Timeline").strip().splitlines()[2:]
    assert rows[0] == "| 2027-01-15 08:01:00 UTC | started | controller | fraud-v2 is rehearsed on route fraud |"
    assert len(rows) == 5


def test_a_rollout_without_any_data_has_a_report(route):
    """Broken: the report fails in the first second of a rollout."""
    nothing = {"p50": None, "p95": None, "p99": None}
    empty = arm("fraud-v1", "stable", requests=0, failed=0, users=0, statuses={}, faults={}, latencyMs=nothing,
                labels={}, numbers={})  # fmt: skip
    route |= {"arms": [empty], "metrics": [], "ratio": None, "missing": [], "forecastSeconds": None, "pairs": None,
              "abortEvidence": None, "startedAt": None, "stageStartedAt": None, "reason": "",
              "distances": []}  # fmt: skip
    text = markdown(route, [])
    assert "No comparison yet." in text
    assert "| fraud-v1 | stable | 95 % | 0 | 0 | 4 | 0 | – | – | – |" in text


def test_a_route_without_rollout_has_a_report():
    """Broken: the report of static weights fails, or speaks of a candidate that is none."""
    text = markdown(plain_document(), [])
    assert "This route has no rollout" in text
    assert "## Versions" in text
    assert "## Metrics" not in text


def test_distances_are_sizes_and_decide_nothing(route):
    """Broken: a PSI of 0.25 is read as a verdict."""
    part = section(markdown(route, []), "Distances")
    assert "| prediction.label | 0.25 | 0.11 | – | – |" in part
    assert "by which nothing is decided" in part


def test_pairs_beyond_noise_are_a_difference(route):
    """Broken: the share of pairs is shown for what is beyond stable's own noise, or without it."""
    pair = next(metric for metric in route["metrics"] if metric["kind"] == "pair")
    pair |= {"stable": 0.021, "candidate": 0.023, "effect": 0.2, "low": -0.6, "high": 1.0, "unit": "pp"}
    text = section(markdown(route, []), "Metrics")
    assert "| pair.label (signal) | 2.1 % | 2.3 % | +0.2 pp | -0.6 pp to +1 pp |" in text


def test_requests_that_had_to_wait_are_told(route):
    """Broken: during a swap nobody can see how many wait, and after it nobody how many waited in vain."""
    told = section(markdown(plain_document(), []), "Requests that had to wait")
    assert "| Wait now | 3 |" in told
    assert "| Had to wait | 1,240 |" in told
    assert "| Waited too long: 503 | 40 |" in told
    assert "Gave way" not in told
    assert "had to wait" not in markdown(route, [])

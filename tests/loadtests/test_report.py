"""The comparison's part of docs/performance.md."""

from loadtests.report import goals, markdown

CASE = {
    "peer": "understudy",
    "title": "Understudy",
    "mode": "plain",
    "over": {"nginx": 1.25},
    "rounds": {},
    "median": {
        "cpuMicroseconds": 25.04,
        "requestsPerSecond": 40321.0,
        "busy": 0.5,
        "othersBusy": 0.1,
        "errors": 0.0,
        "canaryShare": 0.1,
        "copiesPerRequest": 0.0,
        "rssMiB": 30.0,
    },
}
RESULTS = {
    "date": "2026-01-02",
    "command": "make bench",
    "machine": {"cpu": "A CPU", "cores": 2, "memoryMiB": 1024, "kernel": "6.1", "python": "3.11.7"},
    "versions": {"Understudy": "1.2.3"},
    "options": {"rounds": 3, "bouts": 5, "seconds": 2, "latency_s": 3.0, "rate": 2000},
    "direct": {},
    "goals": [{"goal": "against nginx", "atMost": 1.3, "ratio": 1.31, "middleHalf": (1.25, 1.4), "holds": False}],
    "cases": [CASE],
    "leftOut": {"envoy": "`envoy` is not installed"},
}


def test_the_document_says_what_was_measured_and_what_was_not():
    """A peer would be missing without a word, a missed goal look held, or a limited load look like a limit."""
    text = markdown(RESULTS)
    assert "| against nginx | 1.30 | 1.31 | 1.25 to 1.40 | **missed** |" in text
    assert "- envoy: `envoy` is not installed" in text
    assert "| Understudy, weighted and sticky | ≥ 40,321 |" in text
    assert "A CPU, 2 cores" in text
    assert "took up to 10% of the proxy's core: **the machine was not idle" in text
    assert "## Latency" not in text


def test_goals_are_told_in_their_units():
    """KiB would be read as MiB, a missed goal as held, or one that nobody measured as reached."""
    text = goals({
        "goals": [
            {"goal": "each", "atMost": 12.0, "unit": "KiB", "value": 12.5, "holds": False},
            {"goal": "broken", "atMost": 0.0, "unit": "", "value": None, "holds": None},
        ]
    })  # fmt: skip
    assert "| each | 12 KiB | 12.5 KiB | **missed** |" in text
    assert "| broken | 0 | – | not measured |" in text  # noqa: RUF001

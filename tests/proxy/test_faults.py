"""The closed set of ways to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.faults import ENVOY_FLAGS, FACTS, SKIP_FLAGS, Fault, Side, Skip, counts_against


def test_every_fault_has_its_facts() -> None:
    """A fault that is forgotten here would fail where it happens."""
    assert set(FACTS) == set(Fault)
    assert len({facts.flag for facts in FACTS.values()}) == len(Fault)
    assert set(SKIP_FLAGS) == set(Skip)
    assert set(ENVOY_FLAGS) == set(Fault)


def test_the_document_lists_every_fault_with_its_flag() -> None:
    """docs/operations.md would lag behind. What it has to say is printed."""
    counts = ("no", "yes")
    table = "".join(
        f"| `{facts.flag}` | `{ENVOY_FLAGS[fault]}` | {facts.status} | {counts[facts.counts]} | {facts.text} |\n"
        for fault, facts in FACTS.items()
        if fault
    )
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    print(table)
    assert table in document


def test_numbers_fit_their_cells_and_never_change() -> None:
    """They are cell numbers: another order would rename what was counted."""
    assert [fault.value for fault in Fault] == list(range(27))
    assert [skip.value for skip in Skip] == list(range(10))
    assert (Fault.CONNECT_FAILED, Fault.RESPONSE_CUT, Fault.UNSUPPORTED) == (4, 10, 17)
    assert (Fault.RATE_LIMITED, Fault.INJECTED) == (19, 20)
    assert (Skip.BUSY, Skip.DRAINING) == (1, 7)


def test_facts_agree_with_their_side() -> None:
    """A version answers for what is upstream, and for nothing else."""
    for fault, facts in FACTS.items():
        assert facts.counts is (facts.side is Side.UPSTREAM), fault
        assert not facts.retryable or facts.counts, fault
        if fault is not Fault.NONE:
            assert (400 <= facts.status < 500) is (facts.side is Side.CLIENT and fault is not Fault.UNSUPPORTED), fault


@pytest.mark.parametrize(
    ("fault", "status", "counts"),
    [
        (Fault.NONE, 200, False),
        (Fault.NONE, 404, False),
        (Fault.NONE, 499, False),
        (Fault.NONE, 500, True),
        (Fault.NONE, 503, True),
        (Fault.RESPONSE_CUT, 200, True),
        (Fault.CLIENT_GONE, 200, False),
        (Fault.CLIENT_TIMEOUT, 408, False),
        (Fault.OVERFLOW, 503, True),
        (Fault.CONNECT_FAILED, 503, True),
    ],
)
def test_what_counts_against_a_version(fault: Fault, status: int, counts: bool) -> None:
    """A stream that was cut failed at status 200; a client that left did not make the version fail."""
    assert counts_against(fault, status) is counts

"""What is remembered of requests until their truth comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from config.loader import loads
from proxy.control.evidence.lending import Loan
from proxy.simulation import answers
from proxy.simulation.answers import Answers
from tests.support.records import config

LOAN = Loan("fraud", "fraud-v1", "stable", 1, 0, 7)


def request(number: int) -> Any:
    outputs = SimpleNamespace(o0="cat", o1=0.5)
    return SimpleNamespace(request=number, outputs=outputs, error=False, t=float(number))


def remembering(first: int, count: int, known: Answers) -> None:
    known.remember(LOAN, [request(number) for number in range(first, first + count)], [-1] * count)


@pytest.fixture
def known() -> Answers:
    return Answers(loads(config(), "test").config.routes[0])


def test_beyond_the_bound_the_oldest_are_forgotten(known: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: memory grows with the records, or truths of requests that have just been are nobody's."""
    monkeypatch.setattr(answers, "MOST_ANSWERS", 64)
    remembering(0, 65, known)
    assert [known.told(number, "cat") is None for number in (0, 3, 4, 64)] == [True, True, False, False]
    assert known.told(4, "cat") is None, "a request counts once"
    remembering(65, 1000, known)
    assert [known.told(number, "dog") is None for number in (63, 1000, 1064)] == [True, True, False]
    assert sum(known.told(number, "dog") is not None for number in range(1064)) < 64

"""Faults that are injected on purpose."""

from config.loader import loads
from config.routes.fault_injection import FaultInjection

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}, {name: v2, endpoints: [http://127.0.0.1:9001]}]
routes: [{name: only, backendRefs: [{name: v1, weight: 1}, {name: v2, weight: 1}], fault: %s}]
"""


def fault(text: str) -> FaultInjection | None:
    return loads(FILE % text, "FILE").config.routes[0].fault


def test_a_fault_is_told_in_words() -> None:
    """Status and log would not say what is done to whom."""
    both = fault("{delay: {fixedDelay: 2s, percent: 10}, abort: {httpStatus: 503, percent: 0.5}, backend: v2}")
    assert str(both) == "a delay of 2s into 10 % and status 503 into 0.5 % of the requests of v2"
    assert str(fault("{abort: {httpStatus: 500, percent: 50}}")) == "status 500 into 50 % of its requests"

"""Failures of an endpoint in a row."""

from __future__ import annotations

import pytest

from proxy.data.backends.standing import Standing, Watch
from proxy.faults import Fault
from proxy.snapshot import Outliers


def watch(**settings: int) -> tuple[Watch, list[Standing]]:
    ejected: list[Standing] = []
    return Watch(Standing(), Outliers(**settings), ejected.append), ejected  # type: ignore[arg-type]


def test_failures_in_a_row_eject() -> None:
    """An endpoint that fails every request would go on getting its share."""
    counting, ejected = watch(server_errors=3)
    for status in (500, 503, 200, 500, 502):
        counting.answered(status)
    assert not ejected
    counting.answered(500)
    assert ejected == [counting.standing]


def test_a_500_is_no_gateway_error() -> None:
    """A request that the model cannot take would cost the model its endpoints."""
    counting, ejected = watch(server_errors=0, gateway_errors=2)
    for status in (500, 503, 500, 503, 500):
        counting.answered(status)
    assert not ejected
    counting.answered(502)
    counting.answered(504)
    assert ejected == [counting.standing]


@pytest.mark.parametrize(
    "fault", [Fault.CONNECT_FAILED, Fault.CONNECT_TIMEOUT, Fault.UPSTREAM_RESET, Fault.REQUEST_TIMEOUT,
              Fault.STREAM_IDLE, Fault.RESPONSE_CUT, Fault.BAD_RESPONSE]
)  # fmt: skip
def test_what_never_came_counts_as_both(fault: Fault) -> None:
    """An endpoint that is gone or hangs answers nothing that could be counted."""
    for settings in ({"server_errors": 1}, {"server_errors": 0, "gateway_errors": 1}):
        counting, ejected = watch(**settings)
        counting.failed(fault)
        assert ejected == [counting.standing]


@pytest.mark.parametrize("fault", [Fault.CLIENT_GONE, Fault.CLIENT_TIMEOUT, Fault.OVERFLOW, Fault.BODY_TOO_LARGE])
def test_what_is_not_the_endpoints_doing_is_not_counted(fault: Fault) -> None:
    """Clients that leave, or our own bounds, would eject healthy endpoints."""
    counting, ejected = watch(server_errors=1, gateway_errors=1)
    counting.failed(fault)
    assert not ejected
    assert counting.standing.server_errors == 0


def test_who_is_out_is_not_counted() -> None:
    """What was under way when it was ejected would eject it again as soon as it is back."""
    counting, ejected = watch(server_errors=1)
    counting.standing.ejected_until_s = 99.0
    counting.failed(Fault.UPSTREAM_RESET)
    assert not ejected

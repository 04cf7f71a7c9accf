"""Which endpoints are fit to serve."""

from __future__ import annotations

import pytest

from config.backends.health import OutlierDetection
from config.values.problems import ConfigError
from tests.config.backends.test_balancing import backend


def test_names_are_those_of_istio() -> None:
    """People copy what they have; camel case by rule would ask for consecutive5XxErrors."""
    found = backend(
        "outlierDetection: {consecutive5xxErrors: 7, consecutiveGatewayErrors: 3, interval: 1s, "
        "baseEjectionTime: 1m, maxEjectionPercent: 10, minHealthPercent: 40}"
    ).outlier_detection
    assert found is not None
    assert (found.consecutive_5xx_errors, found.consecutive_gateway_errors) == (7, 3)
    assert OutlierDetection().consecutive_5xx_errors == 5


@pytest.mark.parametrize(
    "text",
    [
        "healthCheck: {}",
        "healthCheck: {path: health}",
        "healthCheck: {path: '/a b'}",
        "healthCheck: {path: '/a#b'}",
        "healthCheck: {path: 'http://a/b'}",
        "healthCheck: {path: /, interval: 5}",
        "healthCheck: {path: /, unhealthyThreshold: 0}",
        "healthCheck: {path: /, expectedStatuses: []}",
        "healthCheck: {path: /, expectedStatuses: [20]}",
        "outlierDetection: {consecutiveErrors: 5}",
        "outlierDetection: {baseEjectionTime: 0s}",
        "outlierDetection: {maxEjectionPercent: 110}",
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    """A check that can never pass, or that is not there, would be found out during an outage."""
    with pytest.raises(ConfigError):
        backend(text)

"""Which endpoint of a backend serves next."""

from __future__ import annotations

import pytest

from config.backends.balancing import LoadBalancer
from config.loader import loads
from config.schema import Backend
from config.values.problems import ConfigError

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000], %s}]
routes: [{name: only, backendRefs: [{name: v1}]}]
"""


def backend(text: str) -> Backend:
    return loads(FILE % text, "FILE").config.backends[0]


def test_balancing_is_no_new_version() -> None:
    """Changing how a version is reached would throw its evidence away."""
    plain = backend("version: a")
    changed = backend("version: a, loadBalancer: {policy: leastRequest}, healthCheck: {path: /}, outlierDetection: {}")
    assert plain.load_balancer == LoadBalancer()
    assert changed.digest() == plain.digest()


@pytest.mark.parametrize(
    "text",
    [
        "loadBalancer: {policy: random}",
        "loadBalancer: {panicThreshold: 101}",
        "loadBalancer: {panicThreshold: 50%}",
        "loadBalancer: {slowStart: {}}",
        "loadBalancer: {slowStart: {window: 5}}",
        "loadBalancer: {slowStart: {window: 5s, minWeightPercent: -1}}",
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    """A slip would silently leave the balancing as it was."""
    with pytest.raises(ConfigError):
        backend(text)

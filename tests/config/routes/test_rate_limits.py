"""How many requests are let through."""

import pytest

from config.loader import loads
from config.routes.rate_limits import RateLimit
from config.values.problems import ConfigError

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}], rateLimits: [%s]}]
"""


def limit(text: str) -> RateLimit:
    return loads(FILE % text, "FILE").config.routes[0].rate_limits[0]


def test_a_limit_says_how_many_per_what_and_for_whom() -> None:
    """A limit would hold for the whole route where one for each user is meant, or allow another burst."""
    plain = limit("{requests: 100}")
    assert (plain.per, plain.size, plain.key) == (1.0, 100, None)
    keyed = limit("{key: {header: x-user-id, fallback: [sourceIp]}, requests: 5, per: 1m, burst: 20}")
    assert keyed.key is not None
    assert [tuple(key) for key in keyed.key.keys] == [("header", "x-user-id"), ("sourceIp", "")]
    assert (keyed.per, keyed.size) == (60.0, 20)


@pytest.mark.parametrize("text", ["{requests: 0}", "{requests: 1, per: 0s}", "{requests: 1, burst: 0}", "{per: 1s}"])
def test_a_limit_that_lets_nothing_through_is_refused(text: str) -> None:
    """A slip of the finger would turn everybody away."""
    with pytest.raises(ConfigError):
        limit(text)

"""What clients may ask for."""

import pytest

from config.listeners.limits import Limits
from config.loader import loads
from config.reload import plan
from config.values.problems import ConfigError

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}]}]
"""


def test_limits_need_no_restart() -> None:
    """An operator under attack would have to cut every connection."""
    old = loads(FILE, "FILE").config
    new = loads(FILE + "limits: {headTimeout: 5s}\n", "FILE").config
    assert old.limits == Limits()
    assert plan(old, new).restart_needed == ()
    assert str(plan(old, new)) == "limits changed"


@pytest.mark.parametrize("limit", ["maxHeaders: 0", "headTimeout: 10ms", "maxConnections: 0", "maxBytes: 5"])
def test_a_limit_that_lets_nobody_in_is_refused(limit: str) -> None:
    """A slip of the finger would shut out every client."""
    with pytest.raises(ConfigError):
        loads(f"{FILE}limits: {{{limit}}}\n", "FILE")

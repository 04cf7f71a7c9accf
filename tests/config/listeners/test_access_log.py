"""What is written of requests."""

from config.listeners.access_log import AccessLog
from config.loader import loads
from config.reload import plan

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}]}]
"""


def test_the_log_is_off_unless_it_is_asked_for_and_private() -> None:
    """A proxy that somebody only tries would write down who asks what."""
    assert loads(FILE, "FILE").config.access_log is None
    log = loads(FILE + "accessLog: {}\n", "FILE").config.access_log
    assert log == AccessLog()
    assert (log.percent, log.errors_always, log.headers, log.query) == (1.0, True, ("user-agent",), False)


def test_the_log_needs_no_restart() -> None:
    """Whoever looks for a fault would have to cut every connection first."""
    old, new = (loads(FILE + f"accessLog: {{percent: {percent}}}\n", "FILE").config for percent in (1, 100))
    assert plan(old, new).restart_needed == ()
    assert str(plan(old, new)) == "access log changed"

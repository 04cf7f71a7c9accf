"""When a request that failed is sent again, as the file says it."""

from __future__ import annotations

from config.loader import loads
from config.reload import plan
from config.routes.retries import Retries

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}]%s}]
"""


def test_a_route_has_no_retries_unless_it_asks() -> None:
    """Requests would be sent twice that nobody said may be."""
    assert loads(FILE % "", "FILE").config.routes[0].retries is None


def test_what_is_left_out_is_safe() -> None:
    """`retries: {}` would repeat requests that a model had seen, or without end."""
    found = loads(FILE % ", retries: {}", "FILE").config.routes[0].retries
    assert found == Retries()
    assert (found.attempts, found.retry_on) == (1, ("connect-failure", "refused-stream"))
    assert "POST" not in found.retriable_methods
    assert (found.budget.percent, found.budget.min_retry_concurrency) == (20, 3)


def test_all_can_be_said() -> None:
    """A key that is read and dropped promises what is not done."""
    text = (
        ", retries: {attempts: 3, perTryTimeout: 250ms, retryOn: [reset, 503], retriableMethods: [GET, POST],"
        " backoff: {baseInterval: 10ms, maxInterval: 1s}, budget: {percent: 12.5, minRetryConcurrency: 0}}"
    )
    found = loads(FILE % text, "FILE").config.routes[0].retries
    assert found is not None
    assert (found.attempts, found.per_try_timeout, found.retry_on) == (3, 0.25, ("reset", 503))
    assert found.retriable_methods == ("GET", "POST")
    assert (found.backoff.base_interval, found.backoff.longest_s) == (0.01, 1.0)
    assert (found.budget.percent, found.budget.min_retry_concurrency) == (12.5, 0)


def test_waits_grow_to_ten_times_the_first() -> None:
    """A longer first wait alone would be refused for a bound that nobody wrote."""
    found = loads(FILE % ", retries: {backoff: {baseInterval: 2s}}", "FILE").config.routes[0].retries
    assert found is not None
    assert found.backoff.longest_s == 20.0


def test_retries_need_no_restart_and_no_new_rollout() -> None:
    """Versions are judged by first attempts, so that evidence stays what it was."""
    old = loads(FILE % "", "FILE").config
    new = loads(FILE % ", retries: {attempts: 2}", "FILE").config
    assert plan(old, new).restart_needed == ()

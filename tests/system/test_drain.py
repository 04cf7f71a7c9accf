"""How long a drain lasts: as long as the file says, and no longer."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system


def test_what_outlasts_the_drain_timeout_is_cut(tmp_path):
    """If this fails, one request that never ends keeps a deployment waiting until somebody kills it."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"pause": {}}])
        with understudy(tmp_path, {**config, "drainTimeout": "1s"}) as system:
            for server in (v1, v2):
                server.control(hang=True)
            client = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
            client.request("POST", "/v2/models/m/infer", body=b"{}")
            wait_for("the request at a backend", lambda: v1.control()["seen"] + v2.control()["seen"])
            began_s = time.monotonic()
            assert system.stop() == 0
            assert 1.0 <= time.monotonic() - began_s < 6.0
            with pytest.raises((http.client.HTTPException, OSError)):
                client.getresponse()

"""How a backend is reached, as the file says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from config.loader import loads
from config.schema import Backend
from config.values.problems import ConfigError
from tests.support.certificates import Authority


def test_tls_with_files(tmp_path: Path) -> None:
    """Settings that work would be refused, or the version of TLS would be another one."""
    authority = Authority(tmp_path)
    pair = authority.issue("worker", client=True)
    backend = Backend.model_validate(
        {
            "name": "v1",
            "endpoints": ("https://a", "http://b", "unix:/run/m.sock"),
            "tls": {
                "caFile": str(authority.certificate),
                "certFile": str(pair.certificate),
                "keyFile": str(pair.key),
                "minVersion": 1.3,
                "serverName": "models.internal",
            },
        }
    )
    assert backend.tls is not None
    assert (backend.tls.min_version, backend.tls.insecure_skip_verify) == ("1.3", False)
    assert backend.dns.refresh_interval == 5.0


def test_the_place_of_what_is_wrong(tmp_path: Path) -> None:
    """Somebody would look at the wrong line of a long file."""
    pair = Authority(tmp_path).issue("a")
    text = (
        "listen: [{address: 127.0.0.1:0}]\nbackends:\n- name: v1\n  endpoints: [https://a]\n  tls:\n"
        f"    caFile: {pair.key}\n    certFile: {pair.certificate}\n"
        "routes: [{name: r, backendRefs: [{name: v1}]}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        loads(text, "FILE")
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (6, "backends[0].tls.caFile"),
        (7, "backends[0].tls.certFile"),
    ]


@pytest.mark.parametrize("name", ["a b", "", "http://a", "a..b", "-a", "a" * 254])
def test_server_names(name: str) -> None:
    """A name that no certificate can have would fail every handshake."""
    with pytest.raises(ValidationError):
        Backend.model_validate({"name": "v1", "endpoints": ("https://a",), "tls": {"serverName": name}})


def test_how_a_version_is_reached_is_no_part_of_it() -> None:
    """A new certificate or another interval would begin a rollout again."""
    plain = Backend.model_validate({"name": "v1", "endpoints": ("https://a",)})
    other = Backend.model_validate(
        {
            "name": "v1",
            "endpoints": ("https://a:443",),
            "tls": {"insecureSkipVerify": True},
            "dns": {"refreshInterval": "1s"},
        }
    )
    assert plain.digest() == other.digest()

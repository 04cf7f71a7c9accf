"""Who may do what at the admin API, as the file says it."""

from __future__ import annotations

import pytest

from config.listeners.access import is_loopback
from config.loader import load, loads
from config.reload import plan
from config.values.problems import ConfigError
from tests.support.certificates import Authority

REST = """
listen: [{address: 127.0.0.1:8080}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: m, backendRefs: [{name: v1}]}]
"""
DIGEST = "ab" * 32
TOKEN = f"{{name: ci, role: operator, sha256: {DIGEST}}}"


def problems(admin: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loads(f"admin: {admin}{REST}", "f")
    return [f"{problem.path}: {problem.message}; {problem.remedy}" for problem in refused.value.problems]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "[::]", "understudy.internal"])
def test_an_address_that_others_reach_needs_tls_and_a_credential(host):
    """Broken: whoever is on the network promotes versions, or reads tokens as they go by."""
    found = problems(f'{{address: "{host}:9901"}}')
    assert len(found) == 2
    assert any("allowInsecure" in text for text in found)
    assert any("`tokens`" in text for text in found)
    assert len(problems(f'{{address: "{host}:9901", allowInsecure: true}}')) == 1
    assert len(problems(f'{{address: "{host}:9901", tokens: [{TOKEN}]}}')) == 1
    loads(f'admin: {{address: "{host}:9901", allowInsecure: true, tokens: [{TOKEN}]}}{REST}', "f")


def test_this_machine_needs_nothing():
    """Broken: the quickstart asks for a token."""
    for host in ("127.0.0.1", "127.8.0.1", "[::1]", "localhost"):
        assert not loads(f'admin: {{address: "{host}:9901"}}{REST}', "f").config.admin.asks
    assert not is_loopback("localhost.example.com")


def test_a_token_that_is_refused_is_not_shown():
    """Broken: a token that was written where its digest belongs ends up in logs and terminals."""
    secret = "hunter2-hunter2-hunter2"
    for key in ("sha256", "env"):
        (text,) = problems(f"{{tokens: [{{name: ci, role: viewer, {key}: {secret}}}]}}")
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("{name: ci, role: viewer}", "neither"),
        (f"{{name: ci, role: viewer, env: T, sha256: {DIGEST}}}", "both"),
        (f"{{name: ci, role: root, sha256: {DIGEST}}}", "role"),
        (f"{TOKEN}, {{name: ci, role: viewer, env: OTHER}}", "tokens[0] already"),
        (f"{TOKEN}, {{name: cd, role: viewer, sha256: {DIGEST}}}", "tokens[0] already"),
    ],
)
def test_tokens_that_could_be_meant_in_two_ways_are_refused(token, said):
    """Broken: a token has a role that nobody gave it."""
    assert any(said in text for text in problems(f"{{tokens: [{token}]}}"))


def test_certificates_are_asked_for_where_they_count(tmp_path):
    """Broken: `clients` is a list of people who can never show who they are."""
    assert "clientCaFile" in problems("{clients: [{subject: ops, role: viewer}]}")[0]
    authority = Authority(tmp_path)
    pair = authority.issue("localhost")
    shown = f"{{certFile: {pair.certificate}, keyFile: {pair.key}}}"
    tls = f"{{certificates: [{shown}], clientCaFile: {authority.certificate}}}"
    path = tmp_path / "u.yaml"
    path.write_text(f"admin: {{address: 0.0.0.0:9901, tls: {tls}, clients: [{{subject: ops, role: viewer}}]}}{REST}")
    loaded = load(path)
    assert str(pair.certificate) in loaded.contents.digests, "a renewed certificate is not seen"
    assert loaded.contents.names[str(pair.certificate)] == ("localhost",)


def test_tokens_change_without_a_restart():
    """Broken: to take a stolen token back, one has to restart, or is told so."""
    before = loads(f"admin: {{tokens: [{TOKEN}]}}{REST}", "f").config
    change = plan(before, loads(REST, "f").config)
    assert change.restart_needed == ()
    assert str(change) == "access to the admin API changed"

"""TLS on a listener, as the file says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.loader import loads
from config.values.problems import ConfigError
from tests.support.certificates import Authority, self_signed


def problems(tls: str) -> str:
    try:
        loads(
            f"listen: [{{address: 127.0.0.1:0, tls: {tls}}}]\n"
            "backends: [{name: a, endpoints: [http://a:1]}]\nroutes: [{name: r, backendRefs: [{name: a}]}]\n",
            "FILE",
        )
    except ConfigError as error:
        return "\n".join(map(str, error.problems))
    return ""


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    return Authority(tmp_path).issue("a.test")


def test_a_pair_is_enough(pair: Any) -> None:
    """TLS could not be turned on."""
    assert problems(f"{{certificates: [{{certFile: {pair.certificate}, keyFile: {pair.key}}}]}}") == ""


def test_all_that_can_be_said(pair: Any) -> None:
    """A setting that is documented would be refused."""
    more = f"minVersion: 1.3, clientCaFile: {pair.certificate}, ciphers: ECDHE+AESGCM"
    assert problems(f"{{certificates: [{{certFile: {pair.certificate}, keyFile: {pair.key}}}], {more}}}") == ""


def test_what_does_not_belong_together_is_refused_with_its_place(tmp_path: Path, pair: Any) -> None:
    """A reload would take a key that belongs to another certificate, and end every handshake."""
    other = self_signed(tmp_path, "b.test")
    good = f"{{certFile: {pair.certificate}, keyFile: {pair.key}}}"
    said = problems(f"{{certificates: [{good}, {{certFile: {pair.certificate}, keyFile: {other.key}}}]}}")
    assert "listen[0].tls.certificates[1].keyFile" in said
    assert "is not the key of" in said


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ("{certificates: []}", "listen[0].tls.certificates"),
        ("{certificates: [{certFile: GOOD}]}", "listen[0].tls.certificates[0].keyFile"),
        ("{certificates: [{certFile: /nowhere.pem, keyFile: KEY}]}", "cannot be read: no such file or directory"),
        ("{certificates: [PAIR], minVersion: 1.1}", "write 1.2 or 1.3"),
        ("{certificates: [PAIR], ciphers: NONSENSE}", "names no cipher that can be used"),
        ("{certificates: [PAIR], clientCaFile: KEY}", "listen[0].tls.clientCaFile"),
        ("{certificates: [PAIR], clientCa: GOOD}", "did you mean clientCaFile?"),
    ],
)
def test_what_is_refused(pair: Any, tls: str, said: str) -> None:
    """A slip would be found out by clients."""
    tls = tls.replace("PAIR", f"{{certFile: {pair.certificate}, keyFile: {pair.key}}}")
    assert said in problems(tls.replace("GOOD", str(pair.certificate)).replace("KEY", str(pair.key)))

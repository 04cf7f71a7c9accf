"""Files of certificates and keys: what is taken, and what is said about the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter, ValidationError

from config.values.certificates import FileAt, TlsVersion, authority_findings, pair_findings
from tests.support.certificates import Authority

FILE = TypeAdapter(FileAt)
VERSION = TypeAdapter(TlsVersion)


@pytest.mark.parametrize("value", ["1.2", "1.3", 1.2, 1.3])
def test_versions(value: object) -> None:
    """YAML reads 1.2 as a number, and nobody thinks of quotes."""
    assert VERSION.validate_python(value) == f"{value}"


@pytest.mark.parametrize("value", ["1.1", 1.0, 1, "TLSv1.2", True, None, "", float("nan")])
def test_other_versions_are_refused(value: object) -> None:
    """Broken TLS would be spoken because of a slip of the pen."""
    with pytest.raises(ValidationError):
        VERSION.validate_python(value)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """Reading the settings would hang until somebody writes into the pipe."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="is no regular file"):
        FILE.validate_python(str(tmp_path / "pipe"))


def test_a_good_pair_and_a_good_authority(tmp_path: Path) -> None:
    """What works would be refused."""
    authority = Authority(tmp_path)
    pair = authority.issue("localhost")
    assert list(pair_findings(str(pair.certificate), str(pair.key))) == []
    assert list(authority_findings(str(authority.certificate))) == []
    assert FILE.validate_python(str(pair.key)) == str(pair.key)


def test_a_pair_that_does_not_belong_together(tmp_path: Path) -> None:
    """Every handshake would fail at night, instead of this check by day."""
    authority = Authority(tmp_path)
    one, two = authority.issue("a"), authority.issue("b")
    (found,) = pair_findings(str(one.certificate), str(two.key))
    assert found.loc == ("keyFile",)
    assert "is not the key of" in found.message


def test_half_a_pair(tmp_path: Path) -> None:
    """A certificate without its key would never be shown, and nobody would know why."""
    assert [finding.loc for finding in pair_findings("a.pem", None)] == [("certFile",)]
    assert [finding.loc for finding in pair_findings(None, "a.key")] == [("keyFile",)]
    assert list(pair_findings(None, None)) == []


def test_files_that_are_no_pem(tmp_path: Path) -> None:
    """A worker would be the first to see it, at the first request."""
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert [finding.loc for finding in pair_findings(str(junk), str(junk))] == [("certFile",)]
    assert [finding.loc for finding in authority_findings(str(junk))] == [("caFile",)]
    assert list(authority_findings(str(tmp_path / "gone"))) == list(pair_findings("/gone", "/gone")) == []


def test_an_encrypted_key_is_not_asked_for_its_password(tmp_path: Path) -> None:
    """OpenSSL would ask at the terminal, and the process would wait for an answer for ever."""
    pair = Authority(tmp_path).issue("localhost")
    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(b"secret")
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    (found,) = pair_findings(str(pair.certificate), str(pair.key))
    assert "is encrypted" in found.message
    assert "openssl pkey" in found.remedy

"""Certificates for tests: an authority of its own, and what it issues, right or wrong on purpose.

    authority = Authority(folder)
    server = authority.issue("localhost", "127.0.0.1")     # a Pair of files: certificate (with its chain) and key
    late = authority.issue("localhost", expired=True)
    client = authority.issue("worker", client=True)
    lone = self_signed(folder, "localhost")

Keys are elliptic (P-256): made in a millisecond.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
_NUMBERS = itertools.count(1)


class Pair(NamedTuple):
    """Files of a certificate and its key, in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Who signs. `certificate` is the file that others trust it by."""

    def __init__(self, folder: Path, name: str = "understudy test authority") -> None:
        self.folder = folder
        self._name = _subject(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        own = (
            _builder(self._name, self._name, self._key, now - _DAY, now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._certificate = own
        self.certificate = folder / f"authority-{next(_NUMBERS)}.pem"
        self.certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, client: bool = False, expired: bool = False, stem: str = "") -> Pair:
        """A certificate for names and addresses, the first of which is its subject; `stem` names its files."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        start, end = (now - 3 * _DAY, now - _DAY) if expired else (now - _DAY, now + 30 * _DAY)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        issued = (
            _builder(_subject(names[0]), self._name, key, start, end)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _written(self.folder, issued, key, stem)


def self_signed(folder: Path, *names: str) -> Pair:
    """A certificate that nobody else vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = _subject(names[0])
    own = (
        _builder(subject, subject, key, now - _DAY, now + 30 * _DAY)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _written(folder, own, key, "")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _written(folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, stem: str) -> Pair:
    stem = stem or f"pair-{next(_NUMBERS)}"
    pair = Pair(folder / f"{stem}.pem", folder / f"{stem}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair

"""TLS on a listener: what it shows to clients, and what it asks of them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Self

from pydantic import Field, model_validator

from config.values.certificates import FileAt, TlsVersion, authority_findings, pair_findings
from config.values.problems import Finding, shown
from config.values.section import Parsed, Section, refusal, refusals


def _ciphers(value: str) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(value)
    except (ssl.SSLError, ValueError):
        remedy = "write OpenSSL's names, such as ECDHE+AESGCM:ECDHE+CHACHA20; `openssl ciphers -v` lists them"
        raise refusal(f"{shown(value)} names no cipher that can be used", remedy) from None
    return value


Ciphers = Annotated[str, Parsed(_ciphers, str, {"title": "ciphers, as OpenSSL writes them", "minLength": 1}, form=str)]


class Certificate(Section):
    """What a listener shows to be believed. Both files are in PEM, and read again when they change."""

    cert_file: FileAt = Field(examples=["/etc/understudy/tls/tls.crt"])
    """The certificate, and after it those that vouch for it. Its names say for which hosts it is shown."""

    key_file: FileAt = Field(examples=["/etc/understudy/tls/tls.key"])
    """Its key, not encrypted: only the user that Understudy runs as should be able to read it."""


class ListenerTls(Section):
    """TLS on a listener. Clients are offered HTTP/1.1 (ALPN)."""

    certificates: Annotated[tuple[Certificate, ...], Field(min_length=1, max_length=64)] = Field(
        examples=["[{certFile: /etc/understudy/tls/tls.crt, keyFile: /etc/understudy/tls/tls.key}]"]
    )
    """The one with the name that a client asks for (SNI) is shown, the first one where none has it. `*.example.com`
    counts for one label."""

    min_version: TlsVersion = "1.2"
    """The lowest version of TLS. Older ones than 1.2 are broken (RFC 8996)."""

    client_ca_file: FileAt | None = Field(None, examples=["/etc/understudy/clients.pem"])
    """Authorities in PEM: a client has to show a certificate from one of them. Without it none is asked for."""

    ciphers: Ciphers | None = None
    """For TLS 1.2, as OpenSSL writes them. Without it those that Python deems secure: forward secrecy, AEAD."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        found = list(self._findings())
        if found:
            raise refusals(*found)
        return self

    def _findings(self) -> Iterator[Finding]:
        for place, pair in enumerate(self.certificates):
            for finding in pair_findings(pair.cert_file, pair.key_file):
                yield replace(finding, loc=("certificates", place, *finding.loc))
        for finding in authority_findings(self.client_ca_file):
            yield replace(finding, loc=("clientCaFile",))

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it names."""
        pairs = [path for pair in self.certificates for path in (pair.cert_file, pair.key_file)]
        return (*pairs, *([self.client_ca_file] if self.client_ca_file else []))

"""How a backend is reached: TLS to its https endpoints, and how its names are resolved."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from config.values.certificates import FileAt, TlsVersion, authority_findings, pair_findings
from config.values.durations import duration
from config.values.names import HostName
from config.values.section import Section, refusals


class BackendTls(Section):
    """How the https endpoints of a backend are made sure of. Files are in PEM and are read again when they change; what
    cannot be used is left alone, and what was there goes on to be used."""

    ca_file: FileAt | None = Field(None, examples=["/etc/understudy/ca.pem"])
    """Who vouches for the endpoints: certificates of authorities. Without it those of the system."""

    cert_file: FileAt | None = None
    """The certificate that workers show, for endpoints that ask for one, with those that vouch for it."""

    key_file: FileAt | None = None
    """The key of `certFile`. It is read by the workers and kept nowhere else."""

    server_name: HostName | None = None
    """The name that the certificate of an endpoint has to have, which is also sent (SNI). Without it the host of the
    endpoint."""

    min_version: TlsVersion = "1.2"
    """The lowest version of TLS. Older ones than 1.2 are broken (RFC 8996)."""

    insecure_skip_verify: bool = False
    """Talk to whoever answers. Traffic is encrypted, and anybody on the way can still read and change it: the log says
    so at every change of the file."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        found = [*authority_findings(self.ca_file), *pair_findings(self.cert_file, self.key_file)]
        if found:
            raise refusals(*found)
        return self


class Dns(Section):
    """How the names of endpoints are resolved. Every address that a name has is used, IPv6 too. What was found last is
    used for as long as resolving fails."""

    refresh_interval: Annotated[float, duration(0.1, 86_400)] = 5.0
    """From one answer to the next question, a tenth more or less at random. The system's resolver tells no time to
    live; 5s is Envoy's default, and a resolver nearby answers from memory."""

"""Where the admin API is, and who may do what there."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from config.listeners.serving import ListenerTls
from config.values.addresses import Address, AddressAt
from config.values.names import Name, Text
from config.values.problems import Finding, Loc
from config.values.section import SECRET, Parsed, Section, refusal, refusals

Role = Literal["feedback", "viewer", "operator", "admin"]
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_VARIABLE: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")


def _digest(value: str) -> str:
    """What is refused is not shown: it may be the token itself."""
    if not _DIGEST.fullmatch(value.lower()):
        raise refusal("is no SHA-256 in 64 hexadecimal digits", 'make it with: printf %s "$TOKEN" | sha256sum')
    return value.lower()


def _variable(value: str) -> str:
    """What is refused is not shown: it may be the secret itself."""
    if not _VARIABLE.fullmatch(value):
        raise refusal("is no name of an environment variable", "write letters, digits and _, such as ADMIN_TOKEN")
    return value


EnvName = Annotated[str, Parsed(_variable, str, {"title": "name of an environment variable"}, form=str)]


class Token(Section):
    """A secret that is sent as `Authorization: Bearer TOKEN`. One of `sha256` and `env` says what it is."""

    name: Name = Field(examples=["ci"])
    """Who has it: what the journal calls whoever sends it."""

    role: Role = Field(examples=["operator"])
    """feedback: may tell truths of answers, and nothing else. viewer: may look. operator: may also command rollouts,
    tell truths, and see and take away captured requests. admin: may also change the configuration."""

    sha256: Annotated[str, Parsed(_digest, str, {"title": "64 hexadecimal digits", **SECRET}, form=str)] | None = None
    """The SHA-256 of the token in hexadecimal digits. The token should be random, such as of `openssl rand -hex 32`:
    what a person can remember, others can guess from this."""

    env: EnvName | None = None
    """The environment variable of Understudy that has the token itself, of 16 characters at least. Where it is not set,
    nobody is let in by this."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.sha256 is None) == (self.env is None):
            what = "has neither sha256 nor env" if self.sha256 is None else "has both sha256 and env"
            raise refusals(Finding((), what, "give one of them"))
        return self


class ClientCertificate(Section):
    """A client by its certificate, which an authority of `tls.clientCaFile` has signed."""

    subject: Text = Field(examples=["ops.example.com"])
    """A name in the certificate: one of its alternative names (DNS, e-mail, URI), or its common name if it has none."""

    role: Role = Field(examples=["operator"])
    """As that of a token."""


class Admin(Section):
    """Where the admin API is, and who may do what there. By default it is for this machine alone, and whoever is on it
    may do everything."""

    address: AddressAt = Address("127.0.0.1", 9901)
    """Host and port. One that other machines reach needs `tls` and `tokens` or `clients`. A change needs a restart."""

    tls: ListenerTls | None = None
    """TLS as that of listeners."""

    allow_insecure: bool = False
    """Speak without TLS on an address that other machines reach: for where something else encrypts on the way. Tokens
    and answers can be read by whoever is in between."""

    tokens: Annotated[tuple[Token, ...], Field(max_length=256)] = ()
    """With tokens every request needs one, or a certificate of `clients`, also on this machine. `/healthz` and
    `/readyz` need none."""

    clients: Annotated[tuple[ClientCertificate, ...], Field(max_length=256)] = ()
    """Clients by the certificates that they show."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        found = [*self._findings(), *self._twice()]
        if found:
            raise refusals(*found)
        return self

    @property
    def asks(self) -> bool:
        """Whether requests need a credential."""
        return bool(self.tokens or self.clients)

    def _findings(self) -> Iterator[Finding]:
        at: Loc = ("address",) if "address" in self.model_fields_set else ()
        if not is_loopback(self.address.host):
            if self.tls is None and not self.allow_insecure:
                remedy = "add `tls`, or `allowInsecure: true` where something else encrypts, or stay on 127.0.0.1"
                yield Finding(at, "is reached by other machines, and nothing encrypts what they say", remedy)
            if not self.asks:
                remedy = "add `tokens`, or `clients` with `tls.clientCaFile`, or stay on 127.0.0.1"
                yield Finding(at, "is reached by other machines, and anybody there could command", remedy)
        if self.clients and (self.tls is None or self.tls.client_ca_file is None):
            remedy = "add `tls.clientCaFile`, whose authorities sign them"
            yield Finding(("clients",), "no certificate of a client is ever asked for", remedy)

    def _twice(self) -> Iterator[Finding]:
        by_key: tuple[tuple[str, list[str | None]], ...] = (
            ("name", [token.name for token in self.tokens]),
            ("sha256", [token.sha256 for token in self.tokens]),
            ("env", [token.env for token in self.tokens]),
        )
        for key, values in by_key:
            for place, value in enumerate(values):
                first = values.index(value)
                if value is not None and first < place:
                    yield Finding(("tokens", place, key), f"is that of tokens[{first}] already", "give each its own")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone. A name other than localhost may lead anywhere."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

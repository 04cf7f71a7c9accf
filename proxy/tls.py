"""Which servers are believed to be what they say, and in what words a refusal is told.

The one way from the facts of a snapshot to a TLS context, for workers and for the controller's own questions.
Verification is on unless the file says otherwise; nothing below TLS 1.2 is spoken.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from proxy.snapshot import Endpoint, Tls

CONTEXTS: Final = 16
"""Contexts that are kept although nobody holds them; each takes up to a megabyte, most of it authorities."""

_CERTIFICATE: Final[dict[int, tuple[str, str]]] = {
    9: ("its certificate is not valid yet", "check the clocks of both sides"),
    10: ("its certificate has expired", "renew it there"),
    18: ("its certificate is signed by itself alone", "put that certificate into tls.caFile"),
    19: ("its certificate comes from an authority that is not trusted here", "put the authority into tls.caFile"),
    20: ("its certificate comes from an authority that is not trusted here", "put the authority into tls.caFile"),
    21: ("its certificate comes without those that vouch for it", "let it send them, or put them into tls.caFile"),
    23: ("its certificate was revoked", "renew it there"),
    62: ("its certificate is for another name than {name}", "set tls.serverName to a name that it has"),
    64: ("its certificate is for another address than {name}", "set tls.serverName to a name that it has"),
}
"""What OpenSSL's codes mean (x509_vfy.h), and what to do."""
_NO_CERTIFICATE: Final = ("it asks for a client certificate", "give tls.certFile and tls.keyFile")
_NOT_BELIEVED: Final = ("it does not accept the client certificate", "give one that it trusts in tls.certFile")
_NO_VERSION: Final = ("it speaks no version of TLS that is allowed here", "update it, or lower tls.minVersion")
_NO_TLS: Final = ("it does not speak TLS at this port", "write http:// in `endpoints`, or its TLS port")
_ALERTS: Final[dict[str, tuple[str, str]]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _NOT_BELIEVED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _NOT_BELIEVED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _NOT_BELIEVED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("it finds the client certificate expired", "renew tls.certFile"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "it refuses the handshake: most likely it asks for a client certificate",
        "give tls.certFile and tls.keyFile",
    ),
    "TLSV1_UNRECOGNIZED_NAME": ("it does not know the name {name}", "set tls.serverName to a name that it has"),
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
}
_in_use: Final[WeakValueDictionary[Tls, ssl.SSLContext]] = WeakValueDictionary()
"""Contexts of connections that go on. Those of certificates that were renewed go with the last of them."""


@lru_cache(maxsize=CONTEXTS)
def client_context(tls: Tls) -> ssl.SSLContext:
    """A context to talk to the endpoints of a backend with, one for all that ask for the same. Reads files: some 20 ms
    with the system's authorities.

    Raises:
        OSError: a file cannot be read, or what it holds cannot be used (`ssl.SSLError`).
    """
    context = _in_use.get(tls)
    if context is None:
        context = _in_use[tls] = _made(tls)
    return context


def server_name(tls: Tls, endpoint: Endpoint) -> str:
    """The name that a certificate must have, which is also sent."""
    return tls.server_name or endpoint.host


def reason(error: OSError, name: str) -> tuple[str, str]:
    """Why a TLS connection could not be made, and what to do about it; `name` is what the certificate should have."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said, remedy = _CERTIFICATE.get(
            error.verify_code, (f"its certificate is not accepted: {error.verify_message}", "check it there")
        )
    elif isinstance(error, ssl.SSLError):
        code = getattr(error, "reason", None) or ""  # an error that was not made by OpenSSL has none
        told = (code or error.strerror or str(error)).lower().replace("_", " ")
        said, remedy = _ALERTS.get(code, (f"the handshake failed: {told}", "check the TLS of both sides"))
    else:
        said = "it closed the connection during the handshake"
        remedy = "it may want a client certificate (tls.certFile) or another version of TLS, or not speak TLS"
    return said.format(name=name), remedy


def unusable(error: OSError) -> tuple[str, str]:
    """Why there is no context, and what to do about it. The settings were checked: files changed since then."""
    told = (getattr(error, "reason", None) or error.strerror or str(error)).lower().replace("_", " ")
    return f"files of its `tls` cannot be used: {told}", "put files there that belong together"


def _made(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    return context


def _no_password() -> str:
    raise ssl.SSLError(1, "the key is encrypted")

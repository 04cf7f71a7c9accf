"""TLS with clients: the certificate for the name that one asks for, and what is asked of clients.

A worker reads certificates and keys itself, when a snapshot names other files or other contents; connections that are
there keep what they began with. What cannot be read is left alone: the certificates before it go on to be shown.
"""

from __future__ import annotations

import ssl
from time import monotonic
from typing import Final

from proxy.data.logs.notices import Seldom
from proxy.snapshot import Certificate, ServerTls

AGAIN_S: Final = 1.0
"""Files that could not be used are tried again after this time, when a client comes: they may be half written."""


class Serving:
    """What a listener shows. `before` is what it showed until now, for as long as the new files cannot be used."""

    __slots__ = ("_again_s", "_before", "_context", "_notice", "tls")

    def __init__(self, tls: ServerTls, before: Serving | None) -> None:
        self.tls = tls
        self._notice = Seldom()
        self._before = before
        self._context: ssl.SSLContext | None = None
        self._again_s = 0.0
        self.context()

    def context(self) -> ssl.SSLContext | None:
        """The context for the next handshake; None if no certificate could ever be read."""
        if self._context is None and monotonic() >= self._again_s:
            try:
                self._context = server_context(self.tls)
                self._before = None
            except OSError as error:
                self._again_s = monotonic() + AGAIN_S
                files = ", ".join(pair.cert_file for pair in self.tls.certificates)
                self._notice.say("certificates not usable", str(error), files=files)
        if self._context is None and self._before is not None:
            return self._before.context()
        return self._context


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """A context that shows each client the certificate for the name that it asks for. Reads files.

    Raises:
        OSError: a file cannot be read, or what it holds cannot be used (`ssl.SSLError`).
    """
    contexts = [_context(tls, pair) for pair in tls.certificates]
    by_name: dict[str, ssl.SSLContext] = {}
    for context, pair in zip(contexts, tls.certificates, strict=True):
        for name in pair.names:
            by_name.setdefault(name, context)

    def choose(session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None:
            name = name.lower()
            found = by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")
            if found is not None:
                session.context = found

    if len(contexts) > 1:
        contexts[0].sni_callback = choose
    return contexts[0]


def _context(tls: ServerTls, pair: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    if tls.ciphers:
        context.set_ciphers(tls.ciphers)
    if tls.client_ca_file:
        context.load_verify_locations(tls.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.cert_file, pair.key_file, password=_no_password)
    return context


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")

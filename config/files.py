"""The files that a configuration names, as far as what they hold matters: certificates, keys, authorities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.listeners.serving import ListenerTls
from config.schema import Backend, Config


@dataclass(frozen=True, slots=True)
class Contents:
    """What the files held when the configuration was read: a digest of each, and the names in certificates that
    listeners show. Keys are kept nowhere."""

    digests: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]

    def of(self, files: Iterable[str]) -> str:
        """A digest of these files together; empty for none."""
        parts = [f"{path}={self.digests.get(path, '')}" for path in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32] if parts else ""


NOTHING = Contents({}, {})


def named(config: Config) -> tuple[str, ...]:
    """All files that a configuration names, each once."""
    listeners = [path for tls in _shown(config) for path in tls.files]
    return tuple(dict.fromkeys([*listeners, *(path for backend in config.backends for path in of_backend(backend))]))


def of_backend(backend: Backend) -> tuple[str, ...]:
    """The files by which a backend is reached."""
    if backend.tls is None:
        return ()
    return tuple(path for path in (backend.tls.ca_file, backend.tls.cert_file, backend.tls.key_file) if path)


def read(config: Config) -> Contents:
    """What the files hold now."""
    shown = [pair.cert_file for tls in _shown(config) for pair in tls.certificates]
    return Contents({path: digest(path) for path in named(config)}, {path: _names(path) for path in shown})


def digest(path: str | Path) -> str:
    """What tells one content from another; for a file that cannot be read, why."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.errno}"


def fingerprint(text_digest: str, digests: Mapping[str, str]) -> str:
    """What changes when the configuration or a file that it names does."""
    return f"{text_digest} {Contents(digests, {}).of(digests)}".strip()


def _shown(config: Config) -> list[ListenerTls]:
    """TLS with clients, of listeners and of the admin API."""
    return [tls for tls in (*(listen.tls for listen in config.listen), config.admin.tls) if tls is not None]


def _names(path: str) -> tuple[str, ...]:
    """The host names of a certificate, in lower case; the common name only where it has no other (RFC 6125)."""
    from cryptography import x509  # some 10 MB, for those who show certificates
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
        try:
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            found = alternatives.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (OSError, ValueError):
        return ()  # it changed since it was checked, and will be read again
    return tuple(name.lower() for name in found)

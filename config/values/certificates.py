"""Certificates and keys: files in PEM, which are looked at when the settings are read, and TLS versions.

A file that cannot be used is refused with the line that names it. Keys are read to be checked and are kept nowhere.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from config.values.problems import Finding, shown
from config.values.section import Parsed, refusal

_VERSIONS: Final = ("1.2", "1.3")


def _file(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value or len(value) > 4096:
        raise refusal(f"{shown(value)} is not the name of a file", "write its path, such as /etc/understudy/ca.pem")
    if not PurePosixPath(value).is_absolute():
        raise refusal(f"{shown(value)} does not begin at the root", f"write the whole path, such as /etc/{value}")
    try:
        if not stat.S_ISREG(os.stat(value).st_mode):
            raise refusal(f"{shown(value)} is no regular file", "write the path of a file in PEM")
        with open(value, "rb") as file:
            file.read(1)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise refusal(f"{shown(value)} cannot be read: {said}", "check the path and its permissions") from error
    return value


def _version(value: object) -> str:
    text = f"{value}" if isinstance(value, str | float) else ""
    if text not in _VERSIONS:
        remedy = "write 1.2 or 1.3" if text in ("1", "1.0", "1.1") else "write a version of TLS: 1.2 or 1.3"
        raise refusal(f"{shown(value)} is not a version of TLS that is offered", remedy)
    return text


def pair_findings(certificate: str | None, key: str | None) -> Iterator[Finding]:
    """What is wrong with `certFile` and `keyFile` of a section."""
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        given, missing = ("keyFile", "certFile") if certificate is None else ("certFile", "keyFile")
        yield Finding(
            (given,), f"has no {missing} beside it", f"add {missing}: a certificate and its key belong together"
        )
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedError:
        yield Finding(("keyFile",), f"{shown(key)} is encrypted", f"decrypt it: openssl pkey -in {key} -out plain.key")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield Finding(
                ("keyFile",), f"{shown(key)} is not the key of {certificate}", "give the key that belongs to it"
            )
        else:
            yield Finding(
                ("certFile",),
                f"{shown(certificate)} and {key} hold no certificate and key in PEM that can be used{_said(error)}",
                "write the certificate first, then those that vouch for it, and the key in a file of its own",
            )
    except OSError:
        return  # each file was refused for itself


def authority_findings(authority: str | None) -> Iterator[Finding]:
    """What is wrong with `caFile` of a section."""
    if authority is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(authority)
    except ssl.SSLError as error:
        message = f"{shown(authority)} holds no certificate in PEM{_said(error)}"
        yield Finding(("caFile",), message, "write certificates there, each from BEGIN CERTIFICATE to END CERTIFICATE")
    except OSError:
        return  # the file was refused for itself


class _EncryptedError(Exception):
    """A key asks for a password."""


def _no_password() -> str:
    raise _EncryptedError


def _said(error: ssl.SSLError) -> str:
    return f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""


def _same(value: Any) -> Any:
    return value


FileAt = Annotated[str, Parsed(_file, str, {"type": "string", "title": "path of a file, /PATH", "pattern": "^/"})]
TlsVersion = Annotated[
    str, Parsed(_version, str, {"anyOf": [{"enum": [*_VERSIONS, *map(float, _VERSIONS)]}], "title": "1.2 or 1.3"})
]

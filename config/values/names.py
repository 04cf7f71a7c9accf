"""Names of things in the file, free text, and names as HTTP allows them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from config.values.problems import shown
from config.values.section import Parsed, refusal

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
"""A name of a header field, cookie or method (RFC 9110, section 5.6.2)."""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise refusal(
            f"{shown(value)} is not a name",
            "use 1 to 63 letters, digits, dots, dashes and underscores, with a letter or digit first and last",
        )
    return value


def _text(value: str) -> str:
    if not 0 < len(value) <= 4096:
        raise refusal("is empty" if not value else "is longer than 4096 characters", "write 1 to 4096 characters")
    return value


def token(what: str) -> Parsed:
    """A name as HTTP allows it in header fields, methods and cookies."""

    def parse(value: str) -> str:
        if not _TOKEN.fullmatch(value):
            raise refusal(f"{shown(value)} is not {what}", "use letters, digits and dashes, without spaces or colons")
        return value

    return Parsed(parse, str, form=str)


def _host_name(value: str) -> str:
    if len(value) > 253 or not _HOST_NAME.fullmatch(value):
        raise refusal(f"{shown(value)} is not the name of a host", "write a name, such as models.internal")
    return value


Name = Annotated[str, Parsed(_name, str, {"title": "name", "pattern": f"^{_NAME.pattern}$"}, form=str)]
Text = Annotated[str, Parsed(_text, str, {"title": "text", "minLength": 1, "maxLength": 4096}, form=str)]
HostName = Annotated[str, Parsed(_host_name, str, {"title": "name of a host", "maxLength": 253}, form=str)]

"""The way in: a settings file becomes a `Config`, or all of its problems at once.

A file that is refused changes nothing: the caller keeps what it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from config.checks import findings_in
from config.document import MAX_BYTES, Document, read
from config.files import NOTHING, Contents, fingerprint
from config.files import read as read_files
from config.keys import meant
from config.schema import Config
from config.sketch import partly, whole
from config.values.problems import ConfigError, Finding, Loc, Problem
from config.wording import findings_of


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid file: its settings, its text, the SHA-256 of the text in hex, where it came from, and what the files hold
    that it names."""

    config: Config
    text: str
    digest: str
    path: Path
    contents: Contents = NOTHING

    @property
    def fingerprint(self) -> str:
        """What changes when the file or one that it names does."""
        return fingerprint(self.digest, self.contents.digests)


def load(path: str | Path) -> Loaded:
    """The settings of a file.

    Raises:
        ConfigError: the file cannot be read, or has problems: all of them.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        said = (getattr(error, "strerror", None) or str(error)).lower()
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {said}", "check the path and its permissions")
        raise ConfigError([problem]) from error
    return loads(_decoded(data, str(path)), str(path))


def loads(text: str, source: str) -> Loaded:
    """The settings of a text; `source` is what problems call it.

    Raises:
        ConfigError: the text has problems: all of them.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError([_too_large(source)])
    document = read(text.removeprefix("\ufeff"), source)
    if document.data is None:
        remedy = "begin with `listen:`, `backends:` and `routes:`; `understudy schema --markdown` shows whole files"
        raise ConfigError([*document.problems, Problem(source, 1, 1, "", "the file is empty", remedy)])
    findings: list[Finding] = []
    config: Config | None = None
    try:
        config = Config.model_validate(document.data)
        findings += findings_in(whole(config))
    except ValidationError as error:
        findings += findings_of(error, document)
        findings += findings_in(partly(document.data, _damaged(findings)))
    problems = document.problems + _placed(findings, document)
    if config is None or problems:
        raise ConfigError(problems)
    return Loaded(config, text, hashlib.sha256(text.encode()).hexdigest(), Path(source), read_files(config))


def refusal(loaded: Loaded, findings: Iterable[Finding]) -> ConfigError:
    """A valid file refused for what it would do where it is loaded: these findings, with their lines."""
    document = read(loaded.text.removeprefix("\ufeff"), str(loaded.path))
    return ConfigError(_placed(list(findings), document))


def _damaged(findings: list[Finding]) -> list[Loc]:
    """The places that cannot be relied on: those refused, and those that an unknown key was probably meant for."""
    places = [finding.loc for finding in findings]
    places += [
        (*finding.loc[:-1], close)
        for finding in findings
        if finding.on_key and (close := meant(str(finding.loc[-1]), finding.loc[:-1]))
    ]
    return places


def _placed(findings: list[Finding], document: Document) -> list[Problem]:
    spoilt = {problem.path for problem in document.problems}
    problems = [document.problem(f.loc, f.message, f.remedy, on_key=f.on_key) for f in findings]
    return [problem for problem in dict.fromkeys(problems) if problem.path not in spoilt]


def _decoded(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigError([_too_large(source)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        problem = Problem(source, line, column, "", message, "save the file as UTF-8")
        raise ConfigError([problem]) from error


def _too_large(source: str) -> Problem:
    return Problem(source, 0, 0, "", f"is larger than {MAX_BYTES >> 20} MiB", "check that this is the settings file")

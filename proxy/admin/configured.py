"""What the admin API answers about configurations, member by member: as `documents`, for the file that people edit."""

from __future__ import annotations

from typing import Literal

from proxy.admin.document import Count, Document


class ConfigProblem(Document):
    """One thing that is wrong with a configuration."""

    source: str
    line: Count
    column: Count
    path: str
    message: str
    remedy: str


class Validation(Document):
    """What is wrong with a configuration."""

    valid: bool
    problems: list[ConfigProblem]


class Reloaded(Document):
    """What is live after a configuration was read."""

    ok: Literal[True]
    generation: Count
    workers: Count
    workers_acknowledged: Count
    problems: list[ConfigProblem]
    restart_needed: list[str]

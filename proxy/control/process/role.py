"""The controller as a process: its command line and its logs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from proxy.control.process.supervisor import Launch


@dataclass(frozen=True, slots=True)
class Given:
    """What the supervisor hands over: the facts of the launch, and descriptors."""

    launch: Launch
    ledger_fd: int
    slot_fd: int
    channel_fd: int
    admin_fd: int


def parse(options: Sequence[str]) -> Given:
    """The options of the role `controller`."""
    parser = argparse.ArgumentParser(prog="understudy controller", description="Started by: understudy serve")
    parser.add_argument("--launch", type=Launch.from_json, required=True)
    for name in ("ledger", "slot", "channel", "admin"):
        parser.add_argument(f"--{name}-fd", type=int, required=True)
    given = parser.parse_args(options)
    return Given(given.launch, given.ledger_fd, given.slot_fd, given.channel_fd, given.admin_fd)


def log_as_json(level: str) -> None:
    """JSON lines on stderr, one event each, from this program and from the libraries that it uses."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="at"),
        structlog.processors.format_exc_info,
        _process,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))


def _process(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["process"] = "controller"
    return event

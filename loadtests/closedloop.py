"""Full load: wrk keeps a fixed number of connections busy.

Right for CPU per request and for requests per second. Wrong for latency, since a slow answer delays the next request:
that is what `loadtests.openloop` is for.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.cases import KEY_HEADER, TARGET, USERS, Mode

CONNECTIONS: Final = 16
_SCRIPT: Final = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk did. Errors are connections that failed, answers that did not come, and statuses above 399."""

    requests: int
    seconds: float
    errors: int


def drive(port: int, mode: Mode, seconds: int, cores: set[int]) -> Load:
    """Load a proxy for so many seconds, from the given cores.

    Raises:
        RuntimeError: wrk failed; the message holds its output.
    """
    cpu_list = ",".join(map(str, sorted(cores)))
    command = ["taskset", "-c", cpu_list, *wrk_command(port, mode, seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise RuntimeError(f"wrk failed with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def wrk_command(port: int, mode: Mode, seconds: int) -> list[str]:
    """How wrk is called."""
    return [
        "wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s",
        "--script", str(_SCRIPT), f"http://127.0.0.1:{port}{TARGET}",
        "--", str(mode.request_bytes), str(USERS), KEY_HEADER,
    ]  # fmt: skip


def parse(output: str) -> Load:
    """The figures of the script's last line."""
    facts = json.loads(output.strip().splitlines()[-1])
    return Load(facts["requests"], facts["seconds"], facts["errors"])

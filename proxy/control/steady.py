"""The time by which the control plane measures: the wall's at its start, and what has passed since.

    steps of the wall's clock (an operator, NTP after a boot with a dead battery, a restored virtual machine)
    move every date, and no span: a pause of 30 minutes takes 30 minutes

Everything that lasts is measured by it: pauses, bakes, deadlines, the age of what is kept. What is dated by it (states,
the journal, recordings) stays in order and fits together; workers name answers in the same way (`proxy.answer_id`).
Signatures of webhooks, which others hold against their own clocks, and lines of the log go by the wall.

`CLOCK_MONOTONIC`, by which slices of the ledger are numbered, and not `CLOCK_BOOTTIME`: while a machine is suspended
nothing is served and nobody watches, so a bake must not go on, and a deadline has no reason to. It follows the
corrections of rate that NTP makes, so that the two differ by steps and suspensions alone. At a start the wall's time is
taken anew: rollouts that are taken up are told by how much it was set meanwhile, as far as that can be known
(`machine.adopting`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

STEP_S: Final = 5.0
"""A step that is told. Smaller ones are ordinary where time is kept by asking for it now and then."""
_LOG = structlog.get_logger("understudy.clock")


class Steady:
    """A clock in seconds since 1970 that does not jump. That the wall's has done so is told once, when it is read."""

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._ahead_s = wall() - monotonic()
        self._told_s = 0.0

    def __call__(self) -> float:
        """Now."""
        now_s = self._monotonic() + self._ahead_s
        off_s = self._wall() - now_s
        if abs(off_s - self._told_s) > STEP_S:
            _LOG.warning("the clock of the machine was set, or the machine was suspended: no pause, bake or deadline "
                         "is shorter or longer for it, and dates go on as before; a restart takes the new time",
                         stepped_s=round(off_s - self._told_s, 1), off_s=round(off_s, 1))  # fmt: skip
            self._told_s = off_s
        return now_s

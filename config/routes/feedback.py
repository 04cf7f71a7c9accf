"""What clients may tell later of the answers that they got."""

from __future__ import annotations

from typing import Annotated

from config.values.durations import duration
from config.values.section import Section


class Feedback(Section):
    """Truths that come later. Answers of the route get the header `x-understudy-id`, by which `POST /api/v1/feedback`
    knows which version of which stage they are about."""

    window: Annotated[float, duration(60, 90 * 86_400)] = 86_400.0
    """How long after its request a truth is taken. Within this time it counts once, however often it is told. What is
    remembered for that takes one bit for each answer: at most 4 MiB, 33 million answers; beyond, the oldest are
    forgotten, and truths about them come too late."""

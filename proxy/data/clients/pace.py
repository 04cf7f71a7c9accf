"""How fast the body of a request comes: a client that sends a byte now and then holds a connection, and never stands
still for long enough to be late.

It is looked at once a second, from outside of the request path, and only where there is a `minBodyRate`.
"""

from __future__ import annotations

from proxy.snapshot import Limits


class BodyPace:
    """How long one body has been waited for. `arrived_s`, when its request had its turn, tells it from the next."""

    __slots__ = ("_awaited_s", "_looked_s", "arrived_s")

    def __init__(self, arrived_s: float, now_s: float) -> None:
        self.arrived_s = arrived_s
        self._looked_s = now_s
        self._awaited_s = 0.0

    def too_slow(self, received_bytes: int, read: bool, now_s: float, limits: Limits) -> bool:
        """Whether so much of a body is too little by now. Since the last look the client was `read`, or could not
        send: that is none of its time."""
        if read:
            self._awaited_s += now_s - self._looked_s
        self._looked_s = now_s
        return self._awaited_s > limits.body_timeout_s + received_bytes / limits.min_body_rate

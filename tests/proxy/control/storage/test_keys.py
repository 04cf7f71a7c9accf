"""Who gets which key."""

from __future__ import annotations

import pytest

from proxy.capture import Capture, Field
from proxy.control.storage.keys import Keys
from proxy.snapshot import Output, Predictions, Route, Segment, Snapshot

KEYS = Keys(b"f" * 32, b"l" * 32)


def snapshot(privacy: str = "keep", feedback: bool = False) -> Snapshot:
    outputs = (Output("label", "category", privacy=privacy),)  # type: ignore[arg-type]
    route = Route("r", (), (), (Segment(1, 0),), 0, predictions=Predictions("json", outputs), feedback=feedback)
    return Snapshot(1, routes=(route, Route("plain", (), (), (Segment(1, 0),), 0)))


@pytest.mark.parametrize(
    ("privacy", "feedback", "given"),
    [
        ("keep", False, (b"", b"")),
        ("drop", False, (b"", b"")),
        ("keep", True, (KEYS.feedback, b"")),
        ("hash", False, (b"", KEYS.labels)),
        ("mask", True, (KEYS.feedback, KEYS.labels)),
    ],
)
def test_workers_get_the_keys_that_they_need_and_no_others(privacy, feedback, given) -> None:
    """Broken: a key lies in more memory than it has to, or hashes are made without one."""
    found = KEYS.given(snapshot(privacy, feedback))
    assert (found.feedback_key, found.label_key) == given


@pytest.mark.parametrize(
    ("capture", "needed"),
    [
        (Capture(errors=True), False),
        (Capture(fields=(Field(("a",), "keep"), Field(("b",), "hash"))), True),
        (Capture(other="mask"), True),
        (Capture(path="hash"), True),
        (Capture(headers=(("x-user", "mask"), ("x-id", "keep"))), True),
    ],
)
def test_captured_values_are_hashed_with_the_key_of_labels(capture, needed) -> None:
    """Broken: what the file says to hash is dropped, or workers have a key for nothing."""
    found = KEYS.given(Snapshot(1, routes=(Route("r", (), (), (Segment(1, 0),), 0, capture=capture),)))
    assert found.label_key == (KEYS.labels if needed else b"")


def test_a_controller_without_a_store_goes_on_with_the_keys_of_the_workers() -> None:
    """Broken: while the store is away labels would change their hashes."""
    held = KEYS.given(snapshot("hash", feedback=True))
    assert Keys.inherited(held) == KEYS
    assert Keys.inherited(None) == Keys()

"""Frames between controller and workers, however they are cut."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.channel import FRAME_HEAD, MAX_FRAME_BYTES, Ack, Frames, Hello, Message, Push, encode

MESSAGES = st.one_of(
    st.builds(Hello, st.integers(0, 100), st.integers(1, 2**22), st.integers(0, 2**53)),
    st.builds(Ack, st.integers(0, 100), st.integers(0, 2**53)),
    st.builds(Push, st.binary(max_size=300)),
)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 3000), max_size=10))
def test_any_cutting_gives_the_same_messages(messages: list[Message], cuts: list[int]) -> None:
    """A socket cuts where it likes."""
    raw = b"".join(map(encode, messages))
    at = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    frames = Frames()
    found = [message for i in range(len(at) - 1) for message in frames.feed(raw[at[i] : at[i + 1]])]
    assert found == messages


def test_frame_over_the_limit_is_refused() -> None:
    """Four bytes of noise must not make a process wait for four gigabytes."""
    with pytest.raises(ValueError, match="over the limit"):
        Frames().feed(FRAME_HEAD.pack(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode({"type": "shout"}), msgspec.msgpack.encode([1])])
def test_frame_that_is_no_message_is_refused(body: bytes) -> None:
    """Both sides drop a connection that speaks something else."""
    with pytest.raises(msgspec.DecodeError):
        Frames().feed(FRAME_HEAD.pack(len(body)) + body)

"""The wire form of the routing facts."""

from __future__ import annotations

import msgspec
import pytest

from proxy.snapshot import (
    CIRCLE,
    Arm,
    Backend,
    Endpoint,
    Key,
    Match,
    Mirror,
    NamedMatch,
    Output,
    Predictions,
    Route,
    RowRef,
    Segment,
    Snapshot,
    StringMatch,
    TableRef,
    decode,
    encode,
)

SNAPSHOT = Snapshot(
    7,
    (Backend("v1", (Endpoint("10.0.0.1", 80), Endpoint("::1", 81, tls=True)), idle_timeout_s=5.0),),
    (
        Route(
            "r",
            (
                Match(
                    StringMatch("prefix", "/a"),
                    "POST",
                    (NamedMatch("x", StringMatch("regex", "ü+")),),
                    (NamedMatch("q", StringMatch("exact", "")),),
                    (NamedMatch("c", StringMatch("exact", "1")),),
                ),
            ),
            (Arm(0, RowRef(1, 2)),),
            (Segment(CIRCLE, 0),),
            seed=2**64 - 1,
            keys=(Key("header", "x-user"), Key("sourceIp")),
            mirrors=(Mirror(0, 500, RowRef(3, 2**53), ("GET",), 0.5, 1, 2),),
            predictions=Predictions(
                "json", (Output("o", "number", ("a", 0, "*"), -1.0, 1.0, 0.1, TableRef(1, 9)),), max_body_bytes=9
            ),
        ),
    ),
    "digest",
)


def test_what_is_pushed_is_what_arrives() -> None:
    """Controller and workers must route by the same facts."""
    assert decode(encode(SNAPSHOT)) == SNAPSHOT
    assert decode(encode(Snapshot(1))) == Snapshot(1)


@pytest.mark.parametrize("data", [b"", b"\x01", encode(SNAPSHOT)[:-1], msgspec.msgpack.encode({"generation": "7"})])
def test_broken_bytes_are_refused(data: bytes) -> None:
    """A worker keeps what it has rather than route by nonsense."""
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_snapshot_is_a_value() -> None:
    """It is shared by all requests, and pools are found by their backend."""
    with pytest.raises(AttributeError):
        SNAPSHOT.generation = 8  # type: ignore[misc]
    assert hash(SNAPSHOT.backends[0]) == hash(decode(encode(SNAPSHOT)).backends[0])

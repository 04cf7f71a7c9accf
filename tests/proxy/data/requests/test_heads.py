"""The heads that the proxy writes: names of requests, and the trace that they are part of."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.data.requests import heads
from proxy.data.requests.heads import AnswerHeads, is_traceparent, to_client
from proxy.data.requests.router import Head
from proxy.data.wire.http1 import Headers, ResponseHead
from tests.support.plane import Plane, request, split
from tests.support.transports import settle

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def told(plane: Plane, *headers: str) -> dict[str, str]:
    plane.client().send(request(headers=headers))
    await settle()
    return split(plane.backend().take())[1]


@pytest.mark.parametrize("name", ["a", "f" * 128, "!~", "0b8a7c1e-16e4-4bb1-9c0a-6e0f0a5a3a9b"])
async def test_a_request_keeps_its_name(plane: Plane, name: str) -> None:
    """A request could not be followed from one log to the next."""
    assert (await told(plane, f"X-Request-Id: {name}"))["x-request-id"] == name


@pytest.mark.parametrize(
    "headers",
    [
        ("X-Request-Id: " + "f" * 129,),
        ("X-Request-Id: two words",),
        ("X-Request-Id: \xe9",),
        ("X-Request-Id: tab\tbed",),
        ("X-Request-Id:",),
        ("X-Request-Id: a", "X-Request-Id: b"),
        ("X-Request-Id: " + "f" * 129, "X-Request-Id: b"),
        (),
        ("Connection: x-request-id",),
    ],
)
async def test_a_request_without_a_sound_name_gets_one(plane: Plane, headers: tuple[str, ...]) -> None:
    """A client could forge lines of logs, or a request would have two names, or none."""
    assert (await told(plane, *headers))["x-request-id"] == "test-1"


async def test_a_name_cannot_be_named_away(plane: Plane) -> None:
    """`Connection: x-request-id` would take the name of a request that has one (RFC 9110, section 7.6.1)."""
    assert (await told(plane, "X-Request-Id: a", "Connection: x-request-id"))["x-request-id"] == "a"


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        (TRACE, True),
        (TRACE.replace("-01", "-00"), True),
        ("01" + TRACE[2:], True),
        ("01" + TRACE[2:] + "-later", True),
        (TRACE + "-later", False),
        ("01" + TRACE[2:] + "later", False),
        ("ff" + TRACE[2:], False),
        (TRACE.upper(), False),
        (TRACE[:-1], False),
        (TRACE.replace("-", "_"), False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + "-01", False),
        (TRACE.replace("4", "g"), False),
        ("", False),
    ],
)
async def test_a_trace_is_passed_on_or_broken_off(plane: Plane, value: str, sound: bool) -> None:
    """W3C Trace Context, section 3.2: what cannot be read must not be passed on, nor its state (section 3.3)."""
    assert is_traceparent(value.encode()) is sound
    fields = await told(plane, f"Traceparent: {value}", "Tracestate: a=1", "X-Other: 1")
    assert (fields.get("traceparent"), fields.get("tracestate")) == ((value, "a=1") if sound else (None, None))
    assert fields["x-other"] == "1"


async def test_a_trace_with_two_parents_is_none(plane: Plane) -> None:
    """Each reader would take another one for the parent."""
    fields = await told(plane, f"Traceparent: {TRACE}", f"Traceparent: {TRACE.replace('b7', 'b8')}", "Tracestate: a=1")
    assert "traceparent" not in fields
    assert "tracestate" not in fields


@pytest.mark.parametrize("parent", [(), (f"Traceparent: {TRACE}",)])
async def test_a_state_belongs_to_a_parent(plane: Plane, parent: tuple[str, ...]) -> None:
    """A state would be taken for that of another trace."""
    fields = await told(plane, "Tracestate: a=1", *parent)
    assert ("tracestate" in fields) is bool(parent)


def test_examples_in_the_docstrings() -> None:
    """An example that is no longer true misleads whoever trusts it."""
    assert doctest.testmod(heads).failed == 0


ANSWERS: list[tuple[int, Headers, int | None, bool, bool]] = [
    (200, [(b"content-type", b"text/plain"), (b"content-length", b"2")], 2, False, False),
    (200, [(b"content-type", b"text/html"), (b"content-length", b"2")], 2, False, False),
    (404, [(b"content-type", b"text/plain"), (b"content-length", b"2")], 2, False, False),
    (200, [(b"content-length", b"2"), (b"content-type", b"text/plain")], 2, False, False),
    (200, [(b"content-length", b"2"), (b"connection", b"x-own"), (b"x-own", b"1")], 2, False, False),
    (200, [], 2, False, False),
    (200, [], 0, False, False),
    (200, [], None, True, False),
    (200, [], None, False, False),
    (204, [], None, False, True),
    (200, [(b"content-type", b"text/plain"), (b"content-length", b"2")], 2, False, True),
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ANSWERS), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([b"", b"a: b\r\n"])
        )
    )
)
def test_an_answer_says_nothing_of_the_one_before_it(
    answers: list[tuple[tuple[int, Headers, int | None, bool, bool], bool, bool, bool, bytes]],
) -> None:
    """A client would be told the status, the length or the fields of somebody else's answer."""
    kept = AnswerHeads()
    for (status, fields, *framing), modern, keep_alive, last, own in answers:
        head = ResponseHead(status, list(fields), *framing)
        asked = Head(b"POST", b"/", [], "127.0.0.1", None, False, modern, keep_alive)
        found, wanted = kept.write(head, asked, own, last), to_client(head, asked, own, last)
        assert (found.data, found.chunked, found.keep_alive) == (wanted.data, wanted.chunked, wanted.keep_alive)

"""One form for all the ways to write a path: none of them leads around a route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.data.routing.routing import Routing
from proxy.data.wire.paths import canonical, peculiar
from proxy.snapshot import CIRCLE, Arm, Match, Route, Segment, Snapshot, StringMatch
from tests.support.plane import ROWS, Plane, request, split
from tests.support.transports import settle

BROKEN = [
    b"/a/../b", b"/..", b"/.", b"/a/.", b"/%2e%2e/b", b"/.%2E", b"/a%2F..%2fb", b"/a%5c..%5Cb", b"/..;x/b", b"/;/../b",
    b"/a\\b", b"/%", b"/%2", b"/%g0", b"/%+1", b"/%00", b"/a//../b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "matched"),
    [
        (b"//v2///models", b"/v2/models"),
        (b"/v2/%6dodels", b"/v2/models"),
        (b"/v2%2Fmodels", b"/v2/models"),
        (b"/v2/%2fmodels?a=%2F//../b", b"/v2/models?a=%2F//../b"),
        (b"/a%3Fb?c", b"/a%3Fb?c"),
        (b"/a%3fb", b"/a%3Fb"),
        (b"/%252e%252e", b"/%2e%2e"),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/a..b/...", b"/a..b/..."),
        (b"/m%C3%A9", "/mé".encode()),
        (b"/?\\", b"/?\\"),
    ],
)
def test_one_form(target: bytes, matched: bytes) -> None:
    """What a backend may take for the same path has to be the same path to a route."""
    assert peculiar(target)
    assert canonical(target) == matched


@pytest.mark.parametrize("target", BROKEN)
def test_what_leads_elsewhere_is_no_path(target: bytes) -> None:
    """A backend that resolves it serves another model than the one that was routed."""
    assert peculiar(target)
    with pytest.raises(ValueError):
        canonical(target)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_plain_targets_are_left_alone(text: str) -> None:
    """The ordinary request must not pay, and what is not peculiar must be in the one form already."""
    target = b"/" + text.encode()
    if not peculiar(target):
        assert canonical(target) == target


@given(st.lists(st.sampled_from([b"/", b"a", b"%2f", b"%61", b".", b"%2E", b"b", b";"]), max_size=8).map(b"".join))
def test_form_is_final(path: bytes) -> None:
    """A second look at what was matched must not find another path."""
    try:
        once = canonical(b"/" + path)
    except ValueError:
        return
    assert canonical(once) == once


# --- routes


def two_routes(plane: Plane, guarded: StringMatch) -> None:
    """What the match says goes to v2, all else to v1."""
    routes = tuple(
        Route(name=name, matches=(match,), arms=(Arm(*arm),), segments=(Segment(CIRCLE, 0),), seed=1)
        for name, match, arm in [
            ("guarded", Match(path=guarded), (1, ROWS["v2"])),
            ("rest", Match(), (0, ROWS["v1"])),
        ]
    )
    plane.context.routing = Routing(Snapshot(9, tuple(plane.backends), routes), plane.writer, plane.context.routing)


@pytest.mark.parametrize(
    "target",
    ["/admin/x", "//admin/x", "/%61dmin/x", "/admin%2Fx", "/%2fadmin/x", "/admin//x", "http://m.test//admin/x"],
)
@pytest.mark.parametrize(
    "guarded",
    [StringMatch("prefix", "/admin"), StringMatch("regex", "/admin/.*"), StringMatch("prefix", "/%61dmin/")],
    ids=["prefix", "regex", "prefix with an escape"],
)
async def test_no_writing_leads_around_a_route(plane: Plane, target: str, guarded: StringMatch) -> None:
    """A request could reach a version that its route was made to keep it from; it is forwarded as it was sent."""
    two_routes(plane, guarded)
    plane.client().send(request(target=target))
    await settle()
    assert plane.connections("v1") == 0
    first, _, _ = split(plane.backend("v2").take())
    assert first == f"GET {target.removeprefix('http://m.test')} HTTP/1.1"


@pytest.mark.parametrize("target", BROKEN)
async def test_what_leads_elsewhere_reaches_nobody(plane: Plane, target: bytes) -> None:
    """Neither the route that it is written under nor the one that it leads to may serve it."""
    client = plane.client()
    client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    await settle()
    assert split(client.take())[0] == "HTTP/1.1 400 Bad Request"
    assert plane.network.dialled == []


async def test_path_of_another_script(plane: Plane) -> None:
    """A model may be named in any language; its name is escaped on the wire."""
    two_routes(plane, StringMatch("exact", "/modèle/雪"))
    plane.client().send(request(target="/mod%C3%A8le/%E9%9B%AA"))
    await settle()
    assert split(plane.backend("v2").take())[0] == "GET /mod%C3%A8le/%E9%9B%AA HTTP/1.1"

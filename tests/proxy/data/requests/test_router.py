"""Who matches, and who stands where: matching tables, and the laws of sticky placement."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from math import sqrt
from unittest import mock
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from proxy.data.requests import router
from proxy.data.requests.router import Choice, Head, any_of, conditions, key_readers, place
from proxy.ledger.layout import GROUPS, USER_SLOTS
from proxy.snapshot import CIRCLE, Arm, Key, Match, NamedMatch, Route, Segment, StringMatch


def head(target: str = "/", method: str = "GET", **headers: str) -> Head:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head(method.encode(), target.encode(), fields, "192.0.2.7")


def route(weight: int = 0, seed: int = 1, keys: tuple[Key, ...] = (), matches: tuple[Match, ...] = ()) -> Choice:
    """A route as it is compiled: the canary owns the circle from zero to its weight."""
    return Choice(Route("r", matches, (Arm(0), Arm(1)), (Segment(weight, 1), Segment(CIRCLE, 0)), seed=seed, keys=keys))


def matched(match: Match, request: Head) -> bool:
    return all(holds(request) for holds in conditions(match))


def text(kind: str, value: str) -> StringMatch:
    return StringMatch(kind, value)  # type: ignore[arg-type]


# --- matching


@pytest.mark.parametrize(
    ("kind", "value", "target", "holds"),
    [
        ("exact", "/a", "/a", True),
        ("exact", "/a", "/a?b=c", True),
        ("exact", "/a", "/a/", False),
        ("exact", "/a", "/ab", False),
        ("prefix", "/a", "/a", True),
        ("prefix", "/a", "/a/b", True),
        ("prefix", "/a", "/a/", True),
        ("prefix", "/a", "/a?b", True),
        ("prefix", "/a", "/ab", False),
        ("prefix", "/a", "/", False),
        ("prefix", "/a/", "/a", True),
        ("prefix", "/a/", "/a/b", True),
        ("prefix", "/a/", "/ab", False),
        ("prefix", "/", "/anything", True),
        ("prefix", "/a/b", "/a/b/c?d", True),
        ("prefix", "/a/b", "/a", False),
        ("suffix", "/infer", "/v2/models/a/infer", True),
        ("suffix", "/infer", "/v2/models/a/infer?x=/b", True),
        ("suffix", "/infer", "/v2/models/a/infer/", False),
        ("suffix", "/infer", "/v2/models/a/load?x=/infer", False),
        ("suffix", "/infer", "/v2/models/a/reinfer", False),
        ("regex", "/v[12]/.*", "/v1/x", True),
        ("regex", "/v[12]/.*", "/v1/x?y=/v3", True),
        ("regex", "/v[12]", "/v1/x", False),
        ("regex", "v1", "/v1", False),
    ],
)
def test_path(kind: str, value: str, target: str, holds: bool) -> None:
    """A path that matches too much sends a model's requests to another model."""
    assert matched(Match(path=text(kind, value)), head(target)) is holds


@pytest.mark.parametrize(
    ("match", "request_head", "holds"),
    [
        (Match(), head(), True),
        (Match(method="POST"), head(method="POST"), True),
        (Match(method="POST"), head(), False),
        (Match(headers=(NamedMatch("X-Kind", text("exact", "a")),)), head(x_kind="a"), True),
        (Match(headers=(NamedMatch("X-Kind", text("exact", "a")),)), head(x_kind="b"), False),
        (Match(headers=(NamedMatch("X-Kind", text("exact", "a")),)), head(), False),
        (Match(headers=(NamedMatch("x", text("prefix", "ab")),)), head(x="abc"), True),
        (Match(headers=(NamedMatch("x", text("regex", "a+")),)), head(x="aaa"), True),
        (Match(headers=(NamedMatch("x", text("regex", "a+")),)), head(x="aaab"), False),
        (Match(headers=(NamedMatch("x", text("suffix", "bc")),)), head(x="abc"), True),
        (Match(headers=(NamedMatch("x", text("suffix", "bc")),)), head(x="abcd"), False),
        (Match(query=(NamedMatch("m", text("exact", "v 2")),)), head("/?n=1&m=v%202"), True),
        (Match(query=(NamedMatch("m", text("exact", "")),)), head("/?m="), True),
        (Match(query=(NamedMatch("m", text("exact", "1")),)), head("/?m=1&m=2"), True),
        (Match(query=(NamedMatch("m", text("exact", "1")),)), head("/?n=1"), False),
        (Match(cookies=(NamedMatch("c", text("exact", "1")),)), head(cookie="a=b; c=1"), True),
        (Match(cookies=(NamedMatch("c", text("exact", "1")),)), head(cookie='c="1"; c=2'), True),
        (Match(cookies=(NamedMatch("c", text("exact", "1")),)), head(cookie="cc=1"), False),
        (Match(cookies=(NamedMatch("c", text("exact", "1")),)), head(), False),
        (Match(path=text("prefix", "/a"), method="GET"), head("/a", "POST"), False),
    ],
)
def test_conditions(match: Match, request_head: Head, holds: bool) -> None:
    """All conditions of a match must hold."""
    assert matched(match, request_head) is holds


def test_any_match_of_a_route_is_enough() -> None:
    """Matches are alternatives; a route without any takes everything."""
    either = route(matches=(Match(path=text("exact", "/a")), Match(method="PUT")))
    assert either.matches(head("/a"))
    assert either.matches(head("/b", "PUT"))
    assert not either.matches(head("/b"))
    assert route().matches(head("/b"))


def test_matches_beside_a_route_s_own_are_alternatives_too() -> None:
    """A mirror would copy nothing, or everything; and none at all must cost nothing."""
    holds = any_of((Match(path=text("exact", "/a")), Match(method="PUT")))
    assert holds is not None
    assert [holds(head("/a")), holds(head("/b", "PUT")), holds(head("/b"))] == [True, True, False]
    assert any_of(()) is None
    assert any_of((Match(path=text("exact", "/a")), Match())) is None


# --- keys


@pytest.mark.parametrize(
    ("keys", "request_head", "key"),
    [
        ((Key("header", "X-User"),), head(x_user="u"), b"u"),
        ((Key("cookie", "sid"),), head(cookie="a=b; sid=u"), b"u"),
        ((Key("queryParam", "user"),), head("/?user=%C3%BC"), "ü".encode()),
        ((Key("sourceIp"),), head(), b"192.0.2.7"),
        ((Key("header", "x-user"), Key("sourceIp")), head(x_user=""), b"192.0.2.7"),
        ((Key("header", "x-user"), Key("cookie", "sid")), head(cookie="sid=c", x_user="h"), b"h"),
        ((Key("header", "x-user"),), head(), None),
        ((Key("queryParam", "user"),), head("/?user="), None),
        ((Key("cookie", "sid"),), head(cookie="sid="), None),
    ],
)
def test_first_key_that_is_there_is_used(keys: tuple[Key, ...], request_head: Head, key: bytes | None) -> None:
    """A user without a header may still be known by another mark."""
    choice = route(keys=keys)
    drawn = choice.draw(request_head)
    if key is None:
        assert (drawn.user, drawn.group) == (-1, -1)
    else:
        assert drawn == place(1, key)
    assert len(key_readers(keys)) == len(keys)


# --- placement


def bound(n: int, share: float) -> float:
    """Deviation that a binomial count exceeds less than once in a million (normal, 4.9 standard deviations)."""
    return 4.9 * sqrt(n * share * (1 - share))


@pytest.mark.parametrize("form", ["u{}", "{:032x}", "user-{}@example.com", "{}"])
def test_places_are_uniform(form: str) -> None:
    """A share of 5 % must be 5 %, whatever keys look like."""
    n = 100_000
    draws = [place(12345, form.format(i).encode()) for i in range(n)]
    for share in (0.001, 0.05, 0.5, 0.9):
        below = sum(draw.place < share * CIRCLE for draw in draws)
        assert abs(below - n * share) < bound(n, share)
    for tenth in range(10):
        inside = sum(tenth * CIRCLE <= draw.place * 10 < (tenth + 1) * CIRCLE for draw in draws)
        assert abs(inside - n / 10) < bound(n, 0.1)
    assert {draw.group for draw in draws} == set(range(GROUPS))
    assert all(0 <= draw.place < CIRCLE and 0 <= draw.user < USER_SLOTS for draw in draws)
    canary = [draw.group for draw in draws if draw.place < CIRCLE // 20]
    for group in range(0, GROUPS, 7):
        assert abs(canary.count(group) - len(canary) / GROUPS) < bound(len(canary), 1 / GROUPS)


def test_five_percent_of_users_and_nobody_meets_both() -> None:
    """The promise of sticky cohorts: 2,000 users with 20 requests each at weight 5."""
    choice = route(50_000, keys=(Key("header", "x-user"),))
    met: dict[int, set[int]] = {}
    requests = [user for user in range(2000) for _ in range(20)]
    random.Random(5).shuffle(requests)
    for user in requests:
        met.setdefault(user, set()).add(choice.arm(choice.draw(head(x_user=f"u{user}")).place))
    assert all(len(arms) == 1 for arms in met.values())
    share = sum(arms == {1} for arms in met.values()) / 2000
    assert abs(share - 0.05) <= 0.015


@given(st.binary(min_size=1), st.integers(0, 2**64 - 1), st.integers(0, CIRCLE), st.integers(0, CIRCLE))
def test_raising_the_weight_only_adds_users(key: bytes, seed: int, one: int, other: int) -> None:
    """A user that meets the candidate meets it at every higher weight: nobody flips as a rollout goes on."""
    low, high = sorted((one, other))
    where = place(seed, key).place
    if route(low, seed).arm(where) == 1:
        assert route(high, seed).arm(where) == 1
    assert route(0, seed).arm(where) == 0
    assert route(CIRCLE, seed).arm(where) == 1


@given(st.binary(max_size=40), st.integers(0, 2**64 - 1))
def test_parts_of_a_draw_are_parts_of_one_hash(key: bytes, seed: int) -> None:
    """A place that is worked out in small steps must be the one that other releases work out."""
    digest, draw = xxh3_64_intdigest(key, seed), place(seed, key)
    assert draw.place == ((digest & 0xFFFFFFFF) * CIRCLE) >> 32
    assert (draw.user, draw.group) == ((digest >> 40) & 0x7FFF, digest >> 58)


def test_all_workers_agree_for_ever() -> None:
    """Python's own hash differs from process to process: with it users would flip with every worker and restart."""
    code = "from proxy.data.requests.router import place; print([place(7, b'user-%d' % i).place for i in range(200)])"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] == f"{[place(7, b'user-%d' % i).place for i in range(200)]}\n"
    assert [place(7, b"user-%d" % i).place for i in range(3)] == [666247, 509658, 441716]


def test_routes_with_one_seed_are_aligned() -> None:
    """Two models of one product change together for a user; with seeds of their own they are independent."""
    keys = [b"user-%d" % i for i in range(20_000)]
    one = [place(1, key).place < CIRCLE // 2 for key in keys]
    other = [place(2, key).place < CIRCLE // 2 for key in keys]
    assert one == [place(1, key).place < CIRCLE // 2 for key in keys]
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert abs(same - len(keys) / 2) < bound(len(keys), 0.5)


def test_request_without_a_key_is_drawn_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without users the weight is a share of requests."""
    draws = iter([0.0, 0.0499999, 0.05, 0.9999999])
    monkeypatch.setattr(router, "random", lambda: next(draws))
    choice = route(50_000)
    assert [choice.arm(choice.draw(head()).place) for _ in range(4)] == [1, 1, 0, 0]


def test_segments_of_no_width_and_gaps() -> None:
    """A weight of zero gets nobody; a circle that is not covered has places without an arm."""
    segments = (Segment(0, 0), Segment(300_000, 1), Segment(300_000, 2), Segment(600_000, 3))
    choice = Choice(Route("r", (), (Arm(0),) * 4, segments, seed=1))
    assert [choice.arm(at) for at in (0, 299_999, 300_000, 599_999, 600_000)] == [1, 1, 3, 3, -1]
    assert Choice(Route("r", (), (), (), seed=1)).arm(0) == -1


TEXT = st.text(alphabet='abA%+=&;" 0\xe9', max_size=12)


@given(st.lists(TEXT, max_size=6), TEXT)
def test_parameters_are_those_that_the_standard_library_finds(pieces: list[str], name: str) -> None:
    """A route would match, or a user stick, by another value than every other program reads in the same URL."""
    raw = "&".join(piece.replace("\xe9", "%C3%A9") for piece in pieces)
    found = parse_qs(raw, keep_blank_values=True).get(name)
    assert Head(b"GET", b"/x?" + raw.encode(), [], "").parameter(name) == (found and found[0])


@given(st.lists(TEXT, max_size=6), TEXT.filter(bool))
def test_the_first_cookie_of_a_name_is_found(parts: list[str], name: str) -> None:
    """A user would be another one for each of its cookies."""
    fields = [(b"cookie", part.encode("latin-1")) for part in ("; ".join(parts[:3]), "; ".join(parts[3:]))]
    expected: dict[str, str] = {}
    for part in "; ".join(parts).split(";"):
        key, equals, text = part.strip(" ").partition("=")
        if equals:
            expected.setdefault(key, text.strip('"'))
    assert Head(b"GET", b"/", fields, "").cookie(name) == expected.get(name)


def test_thousands_of_parameters_and_cookies_are_not_decoded() -> None:
    """Twenty conditions on one request with a head of 64 KiB would stop the worker for a fifth of a second."""
    target = b"/x?" + b"&".join(b"a%d=%%41" % number for number in range(2000))
    head = Head(b"GET", target, [(b"cookie", b"a=b; " * 13_000)], "")
    before = head.target, list(head.headers)
    with mock.patch("proxy.data.requests.router.unquote_plus", side_effect=AssertionError):
        assert head.parameter("wanted") is None
    assert head.cookie("wanted") is None
    assert (head.target, head.headers) == before

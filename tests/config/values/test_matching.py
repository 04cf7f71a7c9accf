"""Which requests a route takes, and what makes a user the same user."""

from config.loader import loads
from config.schema import Route
from config.values.matching import AffinityKey, Match, SessionAffinity, StringMatch

FILE = """\
listen: [{{address: 127.0.0.1:0}}]
backends: [{{name: v1, endpoints: [http://127.0.0.1:9000]}}]
routes: [{{name: only, backendRefs: [{{name: v1}}], {more}}}]
"""


def route(more: str) -> Route:
    return loads(FILE.format(more=more), "FILE").config.routes[0]


def test_a_plain_text_means_exact() -> None:
    """A header given as text would be matched as a prefix or as a pattern."""
    match = route("match: [{headers: {x-tier: gold}, query: {a: {prefix: b}}, cookies: {c: {regex: 'd+'}}}]").match[0]
    assert match.headers == {"x-tier": StringMatch("exact", "gold")}
    assert match.query == {"a": StringMatch("prefix", "b")}
    assert match.cookies == {"c": StringMatch("regex", "d+")}
    assert match.path is None
    assert match.method is None


def test_what_takes_every_request() -> None:
    """A route behind one that takes everything would not be found to be unreachable, or the other way round."""
    assert Match().everything
    assert route("match: [{path: {prefix: /}}]").match[0].everything
    assert not route("match: [{path: {exact: /}}]").match[0].everything
    assert not route("match: [{method: GET}]").match[0].everything
    assert not route("match: [{cookies: {a: b}}]").match[0].everything


def test_keys_come_in_the_order_of_the_file() -> None:
    """A user would be known by a weaker key although a stronger one is there."""
    affinity = route(
        "sessionAffinity: {queryParam: user, fallback: [{cookie: s}, {header: x-id}, sourceIp]}"
    ).session_affinity
    assert isinstance(affinity, SessionAffinity)
    assert affinity.keys == (("queryParam", "user"), ("cookie", "s"), ("header", "x-id"), ("sourceIp", ""))
    by_address = route("sessionAffinity: {sourceIp: true}").session_affinity
    assert by_address is not None
    assert by_address.keys == (AffinityKey("sourceIp", ""),)

"""Who a client is, and what is believed of what it says."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.data.requests.trust import CLAIMS, LOCAL, Trust, parse_hop, plain
from proxy.snapshot import Key, Limits, Mirror, Snapshot
from tests.support.plane import ROWS, Plane, answer, request, split
from tests.support.transports import settle

TRUST = Trust(("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"))


async def told(plane: Plane, *headers: str, target: str = "/") -> dict[str, str]:
    """What the backend is told of a request with these fields."""
    plane.client().send(request(target=target, headers=headers))
    await settle()
    return split(plane.backend().take())[1]


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"192.0.2.1:4711", "192.0.2.1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"2001:DB8:0::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:80", "2001:db8::1"),
        (b'"[2001:db8::1]:80"', "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"::ffff:192.0.2.1", "192.0.2.1"),
        (b"unknown", None),
        (b"_hidden", None),
        (b"", None),
        (b"192.0.2", None),
        (b"192.0.2.1:http", None),
        (b"[2001:db8::1]x", None),
        (b"[2001:db8::1", "2001:db8::1"),
        (b"999.1.1.1", None),
        (b"\xff", None),
    ],
)
def test_hops(hop: bytes, address: str | None) -> None:
    """The client's address would be one that it does not have, or the search for it would end too early."""
    assert parse_hop(hop) == (None if address is None else ip_address(address))


@given(st.binary(max_size=80))
def test_no_hop_breaks_anything(hop: bytes) -> None:
    """A client behind a trusted proxy could end a connection with a word that is no address."""
    parse_hop(hop)
    assert TRUST.client("192.0.2.7", hop)


def test_a_way_of_thousands_of_trusted_proxies_is_not_followed() -> None:
    """A client behind a trusted proxy writes 64 KiB of addresses that are trusted too, and each takes ten
    microseconds to look at: the worker would stand still."""
    trust = Trust(("10.0.0.0/8",))
    hops = b", ".join(b"10.0.%d.%d" % (number // 250, number % 250) for number in range(7000))
    assert trust.client("192.0.2.7", b"198.51.100.1, " + hops) == "10.0.27.218"
    assert trust.judge.cache_info().misses == 32
    assert trust.client("192.0.2.7", b"198.51.100.1, 10.0.0.1, 10.0.0.2") == "198.51.100.1"


@given(st.ip_addresses(), st.sampled_from(["{}", "[{}]", '"[{}]:80"', " {} "]))
def test_every_address_is_understood(address: object, form: str) -> None:
    """An address that cannot be read makes a proxy of the client."""
    form = form if ":" in str(address) else "{}"
    assert Trust(("192.0.2.7/32",)).client("192.0.2.7", form.format(address).encode()) in (
        str(address),
        str(getattr(address, "ipv4_mapped", None)),
    )


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        (b"203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, 10.1.1.1", "203.0.113.9"),
        (b"6.6.6.6, 203.0.113.9, 10.1.1.1,10.2.2.2", "203.0.113.9"),
        (b"10.9.9.9, 10.1.1.1", "10.9.9.9"),
        (b"unknown, 10.1.1.1", "10.1.1.1"),
        (b"6.6.6.6, nonsense", "192.0.2.7"),
        (b"6.6.6.6," + b" " * 80, "192.0.2.7"),
        (b"", "192.0.2.7"),
        (b"[2001:db9::5]:443, 2001:db8::1", "2001:db9::5"),
        (b"203.0.113.9:5555, 10.1.1.1:80", "203.0.113.9"),
    ],
)
def test_the_client_is_the_last_that_is_not_trusted(hops: bytes, client: str) -> None:
    """Whoever writes an address into the field first would be taken for that address."""
    assert TRUST.client("192.0.2.7", hops) == client


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("2001:db8:1::1", True), ("2001:db9::1", False), (LOCAL, False)],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    """A proxy in front would not be believed, or the whole world would be."""
    assert TRUST.includes(address) is trusted


def test_nobody_is_trusted_unless_it_is_said() -> None:
    """An empty list would be read as everybody."""
    assert not Trust(()).includes("127.0.0.1")
    assert not Trust(()).includes(LOCAL)
    assert Trust(("unix",)).includes(LOCAL)
    assert not Trust(("unix",)).includes("127.0.0.1")


def test_addresses_of_peers_are_written_plainly() -> None:
    """One client would be two on a socket for both families, and a zone would go on to backends."""
    assert plain("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain("fe80::1%eth0") == "fe80::1"
    assert plain("2001:db8::1") == "2001:db8::1"
    assert plain("192.0.2.1") == "192.0.2.1"


async def test_strangers_are_not_believed(plane: Plane) -> None:
    """Anybody could come as an address of the inside, over TLS, for another host."""
    fields = await told(plane, *(f"{name.decode().title()}: 10.0.0.1" for name in CLAIMS))
    assert {name: text for name, text in fields.items() if name.encode() in CLAIMS} == {
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "m.test",
    }


async def test_the_word_of_a_trusted_proxy_is_kept(plane: Plane) -> None:
    """Behind a load balancer all requests would seem to come from it, without TLS."""
    plane.listen(trusted=("192.0.2.7/32",))
    fields = await told(
        plane,
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "Forwarded: for=203.0.113.9",
        "X-Real-Ip: 203.0.113.9",
    )
    assert fields["x-forwarded-for"] == "203.0.113.9, 192.0.2.7"
    assert (fields["x-forwarded-proto"], fields["x-forwarded-host"]) == ("https", "shop.test")
    assert (fields["forwarded"], fields["x-real-ip"]) == ("for=203.0.113.9", "203.0.113.9")


async def test_a_trusted_proxy_that_says_nothing_is_the_client(plane: Plane) -> None:
    """Its health checks would be refused, or come from nowhere."""
    plane.listen(trusted=("192.0.2.7/32",))
    fields = await told(plane)
    assert (fields["x-forwarded-for"], fields["x-forwarded-proto"]) == ("192.0.2.7", "http")
    fields = await told(plane, "X-Forwarded-Proto: https")
    assert (fields["x-forwarded-for"], fields["x-forwarded-proto"]) == ("192.0.2.7", "https")


async def test_the_host_is_that_of_the_request(plane: Plane) -> None:
    """With a whole URL as the target the host field does not count (RFC 9112, section 3.2.2)."""
    fields = await told(plane, target="http://other.test:81/x")
    assert (fields["host"], fields["x-forwarded-host"]) == ("other.test:81", "other.test:81")


async def test_users_behind_a_trusted_proxy_are_told_apart(plane: Plane) -> None:
    """All users of a load balancer would be one: a canary of 5 % gets all of them or none."""
    plane.adopt(keys=(Key("sourceIp"),))
    plane.listen(trusted=("192.0.2.7/32",))
    client = plane.client()
    for _ in range(3):
        await plane.exchange(client, request(headers=("X-Forwarded-For: 203.0.113.9",)), answer())
    heads = []
    plan = plane.context.routing.plans[0]
    draw = plan.choice.draw
    for peer in ("203.0.113.9", "203.0.113.10"):
        client.send(request(headers=(f"X-Forwarded-For: 6.6.6.6, {peer}",)))
        await settle()
        (exchange,) = plane.context.live
        heads.append(exchange.head)  # type: ignore[attr-defined]
        plane.backend().answer(answer())
    assert [head.peer for head in heads] == ["203.0.113.9", "203.0.113.10"]
    assert draw(heads[0]).place != draw(heads[1]).place


async def test_the_bound_of_an_address_is_not_for_a_trusted_proxy(plane: Plane) -> None:
    """A load balancer would be cut off as if it were one greedy client."""
    snapshot = Snapshot(9, limits=Limits(max_connections_per_address=1))
    routing = type(plane.context.routing)
    plane.context.routing = routing(snapshot, plane.writer)
    plane.client()
    assert plane.client().transport.closed
    listener = msgspec.structs.replace(snapshot.listeners[0], trusted=("192.0.2.0/24",))
    plane.context.routing = routing(msgspec.structs.replace(snapshot, listeners=(listener,)), plane.writer)
    assert not any(plane.client().transport.closed for _ in range(3))


async def test_copies_tell_of_the_client_what_the_request_told(plane: Plane) -> None:
    """A shadow that limits by client, or logs by request, would do something else than the version it rehearses."""
    plane.adopt(mirrors=(Mirror(2, 1_000_000, ROWS["v3"], methods=("GET",)),))
    client = plane.client()
    await plane.exchange(client, request(headers=("X-Forwarded-For: 10.0.0.1", "Connection: x-gone", "X-Gone: 1")), b"")
    live = split(plane.backend().take())[1]
    plane.backend().answer(answer())
    await settle()
    copied = split(plane.backend("v3").take())[1]
    assert copied.pop("x-understudy-shadow") == "true"
    assert copied == live
    assert live["x-request-id"]
    assert live["x-forwarded-for"] == "192.0.2.7"


async def test_a_copy_can_be_told_less(plane: Plane) -> None:
    """Somebody who takes an address away from copies, for privacy, would have it written again."""
    mirror = Mirror(
        2, 1_000_000, ROWS["v3"], methods=("GET",),
        remove_headers=("x-forwarded-for",), set_headers=(("x-request-id", "copy"),),
    )  # fmt: skip
    plane.adopt(mirrors=(mirror,))
    await plane.exchange(plane.client(), request(), answer())
    copied = split(plane.backend("v3").take())[1]
    assert "x-forwarded-for" not in copied
    assert (copied["x-request-id"], copied["x-forwarded-proto"]) == ("copy", "http")

"""Contexts of TLS, and the words for what goes wrong. The handshakes are real, in memory."""

from __future__ import annotations

import contextlib
import gc
import ssl
import weakref
from pathlib import Path

import pytest

from proxy.snapshot import Endpoint, Tls
from proxy.tls import CONTEXTS, client_context, reason, server_name, unusable
from tests.support.certificates import Authority, Pair, self_signed


def server(pair: Pair, **settings: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """The client's side of a handshake in memory, up to its first read; raises what the client is told."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(theirs, ours, server_hostname=name)
    other = server.wrap_bio(ours, theirs, server_side=True)
    done: set[int] = set()
    while len(done) < 2:
        for side, number in ((one, 1), (other, 2)):
            try:
                side.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                if side is one:
                    raise
                done.add(number)  # the client hears of it in the alert
    with contextlib.suppress(ssl.SSLWantReadError):
        one.read(1)
    return one


def refused(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> tuple[str, str]:
    with pytest.raises(ssl.SSLError) as caught:
        handshake(client, server, name)
    return reason(caught.value, name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def trusting(authority: Authority) -> Tls:
    return Tls(ca_file=str(authority.certificate))


def test_a_good_server(authority: Authority, trusting: Tls) -> None:
    """Nothing would work. The protocol that is offered is the one that is spoken."""
    listening = server(authority.issue("localhost", "127.0.0.1"))
    listening.set_alpn_protocols(["h2", "http/1.1"])
    for name in ("localhost", "127.0.0.1"):
        made = handshake(client_context(trusting), listening, name)
        assert made.selected_alpn_protocol() == "http/1.1"
        assert made.version() == "TLSv1.3"


def test_an_expired_certificate(authority: Authority, trusting: Tls) -> None:
    """Whoever is called at night has to see at once what it is."""
    said, remedy = refused(client_context(trusting), server(authority.issue("localhost", expired=True)))
    assert said == "its certificate has expired"
    assert remedy == "renew it there"


def test_a_certificate_for_another_name(authority: Authority, trusting: Tls) -> None:
    """Whoever answers at an address that was taken over would get all requests."""
    listening = server(authority.issue("elsewhere.test"))
    assert refused(client_context(trusting), listening)[0] == "its certificate is for another name than localhost"
    said, remedy = refused(client_context(trusting), listening, "10.0.0.1")
    assert said == "its certificate is for another address than 10.0.0.1"
    assert "tls.serverName" in remedy


def test_a_certificate_that_nobody_vouches_for(authority: Authority, trusting: Tls, tmp_path: Path) -> None:
    """Anybody could make one."""
    alone = server(self_signed(tmp_path, "localhost"))
    said, remedy = refused(client_context(trusting), alone)
    assert said == "its certificate is signed by itself alone"
    assert "tls.caFile" in remedy
    said, remedy = refused(client_context(Tls()), server(authority.issue("localhost")))
    assert said == "its certificate comes from an authority that is not trusted here"
    assert "tls.caFile" in remedy


def test_a_client_certificate_that_is_missing_or_strange(authority: Authority, trusting: Tls, tmp_path: Path) -> None:
    """TLS 1.3 tells it after the handshake, and it would look like a crash of the model server."""
    asking = server(authority.issue("localhost"), verify_mode=ssl.CERT_REQUIRED)
    asking.load_verify_locations(authority.certificate)
    assert refused(client_context(trusting), asking)[0] == "it asks for a client certificate"
    strange = Authority(tmp_path, "another authority").issue("worker", client=True)
    with_strange = Tls(trusting.ca_file, str(strange.certificate), str(strange.key))
    assert refused(client_context(with_strange), asking)[0] == "it does not accept the client certificate"
    known = authority.issue("worker", client=True)
    handshake(client_context(Tls(trusting.ca_file, str(known.certificate), str(known.key))), asking)


def test_no_common_version(authority: Authority, trusting: Tls) -> None:
    """A floor that is not held is none."""
    old = server(authority.issue("localhost"), maximum_version=ssl.TLSVersion.TLSv1_2)
    assert handshake(client_context(trusting), old).version() == "TLSv1.2"
    said, remedy = refused(client_context(Tls(trusting.ca_file, min_version="1.3")), old)
    assert said == "it speaks no version of TLS that is allowed here"
    assert "tls.minVersion" in remedy


def test_verification_ends_only_where_it_is_told_to(tmp_path: Path) -> None:
    """The one switch that takes it all away does so, and no other one does."""
    wrong = server(self_signed(tmp_path, "elsewhere.test"))
    handshake(client_context(Tls(verify=False)), wrong)
    for tls in (Tls(), Tls(server_name="elsewhere.test"), Tls(min_version="1.3")):
        context = client_context(tls)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_contexts_are_shared_until_contents_change(authority: Authority, trusting: Tls) -> None:
    """Each context takes a megabyte; one of old contents would show a certificate that has expired."""
    assert client_context(trusting) is client_context(Tls(ca_file=trusting.ca_file))
    assert client_context(trusting) is not client_context(Tls(ca_file=trusting.ca_file, contents="other"))


def test_contexts_of_old_contents_go(trusting: Tls) -> None:
    """A certificate that is renewed every hour would take a megabyte every hour."""
    made = [weakref.ref(client_context(Tls(trusting.ca_file, contents=f"{n}"))) for n in range(CONTEXTS * 2)]
    gc.collect()
    assert sum(context() is not None for context in made) == CONTEXTS
    held = client_context(Tls(trusting.ca_file, contents="held"))
    for n in range(CONTEXTS):
        client_context(Tls(trusting.ca_file, contents=f"other {n}"))
    assert client_context(Tls(trusting.ca_file, contents="held")) is held


def test_files_that_changed_since_they_were_checked(authority: Authority, tmp_path: Path) -> None:
    """The words would be those of a handshake that never was."""
    with pytest.raises(OSError) as caught:
        client_context(Tls(ca_file=str(tmp_path / "gone.pem")))
    assert unusable(caught.value)[0] == "files of its `tls` cannot be used: no such file or directory"
    one, two = authority.issue("a", client=True), authority.issue("b", client=True)
    with pytest.raises(OSError) as caught:
        client_context(Tls(cert_file=str(one.certificate), key_file=str(two.key)))
    assert unusable(caught.value)[0] == "files of its `tls` cannot be used: key values mismatch"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(), "it closed the connection during the handshake"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "the handshake failed"),
        (ssl.SSLError(1, "noise"), "the handshake failed: noise"),
    ],
)
def test_other_ends_of_a_handshake(error: OSError, said: str) -> None:
    """An error without a name would be told as nothing."""
    assert reason(error, "x")[0].startswith(said)


def test_the_name_that_counts() -> None:
    """The host of the endpoint, unless the file names another."""
    assert server_name(Tls(), Endpoint("a.test", 443, tls=True)) == "a.test"
    assert server_name(Tls(server_name="b.test"), Endpoint("a.test", 443, tls=True)) == "b.test"

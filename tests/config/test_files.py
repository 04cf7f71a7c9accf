"""The files that a configuration names."""

from __future__ import annotations

from pathlib import Path

from config import files, loader
from config.files import NOTHING, Contents
from tests.support.certificates import Authority


def text(folder: Path) -> str:
    return f"""
listen:
  - address: 127.0.0.1:0
    tls: {{certificates: [{{certFile: {folder}/a.pem, keyFile: {folder}/a.key}}], clientCaFile: {folder}/a.pem}}
backends: [{{name: v1, endpoints: [https://127.0.0.1:1], tls: {{caFile: {folder}/b.pem}}}}]
routes: [{{name: r, backendRefs: [{{name: v1}}]}}]
"""


def test_what_is_named_is_known_with_what_it_holds(tmp_path: Path) -> None:
    """A certificate that is renewed would not reach the workers, or those of one backend would renew all."""
    authority = Authority(tmp_path)
    authority.issue("A.test", "*.a.test", "127.0.0.1", stem="a")
    authority.issue("b.test", stem="b")
    loaded = loader.loads(text(tmp_path), "FILE")
    a, key, b = (str(tmp_path / name) for name in ("a.pem", "a.key", "b.pem"))
    assert files.named(loaded.config) == (a, key, b)
    assert loaded.contents.names == {a: ("a.test", "*.a.test")}
    authority.issue("b.test", stem="b")
    later = loader.loads(text(tmp_path), "FILE")
    assert later.digest == loaded.digest
    assert later.fingerprint != loaded.fingerprint
    assert later.contents.of([a, key]) == loaded.contents.of([a, key])
    assert later.contents.of([b]) != loaded.contents.of([b])


def test_nothing_named_is_the_text_alone() -> None:
    """A configuration without certificates would count as changed at every look."""
    plain = "listen: [{address: 127.0.0.1:0}]\nbackends: [{name: a, endpoints: [http://a:1]}]\n"
    loaded = loader.loads(plain + "routes: [{name: r, backendRefs: [{name: a}]}]\n", "FILE")
    assert loaded.fingerprint == loaded.digest
    assert NOTHING.of([]) == ""
    assert Contents({"a": "1"}, {}).of(["a"]) != Contents({"a": "2"}, {}).of(["a"])


def test_what_cannot_be_read_has_no_names(tmp_path: Path) -> None:
    """A file that is gone a moment after it was checked would raise something that nobody catches."""
    (tmp_path / "x.pem").write_text("noise")
    assert files._names(str(tmp_path / "x.pem")) == files._names(str(tmp_path / "y.pem")) == ()
    assert files.digest(tmp_path / "y.pem") == "cannot be read: 2"

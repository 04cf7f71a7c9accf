"""Files that are refused, with every word that is said about them; and files that are taken."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from config.loader import load, loads
from config.values.problems import ConfigError, Problem

GOLDEN = Path(__file__).with_name("golden")
LINE = "-" * 40 + "\n"
CASES = sorted(path.stem for path in GOLDEN.glob("*.txt"))
JARGON = re.compile(r"\b(pydantic|input should|validation|tuple|dict|NoneType|field required|scalar|\w+_\w+)\b", re.I)
MINIMAL = """\
listen: [{address: 127.0.0.1:0}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: only, backendRefs: [{name: v1}]}]
"""


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loads(text, "FILE")
    return caught.value


def problems_of(text: str) -> tuple[Problem, ...]:
    try:
        loads(text, "FILE")
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_about_a_bad_file(name: str) -> None:
    """Someone reading the refusal of a file at night would be told less, or something wrong, or the wrong line.

    After a meant change of the words: `UPDATE_GOLDEN=1 pytest tests/config/test_loader.py`, and read the difference.
    """
    path = GOLDEN / f"{name}.txt"
    text, _, expected = path.read_text(encoding="utf-8").partition(LINE)
    said = "".join(f"{problem}\n".removeprefix("FILE:") for problem in refused(text).problems)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(f"{text}{LINE}{said}", encoding="utf-8")
    assert said == (said if os.environ.get("UPDATE_GOLDEN") else expected)


@pytest.mark.parametrize("name", CASES)
def test_no_word_of_the_machinery_is_in_a_message(name: str) -> None:
    """Messages would speak of libraries and types of the program instead of the file."""
    text = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").partition(LINE)[0]
    for problem in refused(text).problems:
        said = f"{problem.message} {problem.remedy}"
        assert not JARGON.search(said), problem
        assert problem.message, problem
        assert problem.remedy, problem


def test_a_minimal_file_has_the_documented_defaults() -> None:
    """A file that says nothing of timeouts, admin or workers would run with other values than the reference states."""
    config = loads(MINIMAL, "FILE").config
    assert (str(config.admin.address), config.store.url, config.workers) == (
        "127.0.0.1:9901",
        "sqlite:///understudy.db",
        "auto",
    )
    route = config.routes[0]
    assert (route.timeouts.request, route.timeouts.connect, route.timeouts.stream_idle) == (10.0, 1.0, 60.0)
    assert route.cohort_seed == "only"
    assert [metric.name for metric in route.analysis.metrics] == ["errors"]
    assert [str(bound) for bound in route.analysis.metrics[0].margin] == ["20%", "0.2pp"]


def test_a_file_and_its_text_are_the_same(tmp_path: Path) -> None:
    """Revisions would be told apart by something else than their text; a byte order mark would be an error."""
    path = tmp_path / "understudy.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    loaded = load(path)
    assert loaded.path == path
    assert loaded.config == loads(MINIMAL, "FILE").config
    assert loaded.digest == hashlib.sha256(MINIMAL.encode()).hexdigest()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, or bytes that are no text would raise something that nobody catches."""
    for path, said in (
        (tmp_path / "none.yaml", "cannot be read: no such file or directory"),
        (tmp_path, "cannot be read: is a directory"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
    ):
        with pytest.raises(ConfigError, match=said):
            load(path)
    bad = tmp_path / "latin.yaml"
    bad.write_bytes(MINIMAL.encode() + b"# f\xfcr\n")
    with pytest.raises(ConfigError) as caught:
        load(bad)
    assert str(caught.value) == f"{bad}:4:4: byte 0xfc is not UTF-8; save the file as UTF-8"
    bad.write_bytes(b"#" * ((4 << 20) + 1))
    with pytest.raises(ConfigError, match="is larger than 4 MiB"):
        load(bad)


def test_problems_come_in_the_order_of_the_file() -> None:
    """People fix a file from top to bottom; problems in another order make them jump."""
    places = [(problem.line, problem.column) for problem in refused((GOLDEN / "roles.txt").read_text()).problems]
    assert places == sorted(places)


def test_what_is_written_out_can_be_read_again() -> None:
    """A revision kept in the journal could not be loaded again as what it was."""
    for path in sorted((Path(__file__).parents[2] / "config/examples").glob("*.yaml")):
        config = load(path).config
        written = yaml.safe_dump(config.model_dump(mode="json", by_alias=True))
        assert loads(written, "FILE").config == config


def test_a_key_that_looks_like_a_mark_of_the_machinery() -> None:
    """A file with such a key would raise something that nobody catches."""
    assert str(refused(MINIMAL + "'[key]': 1\n")).startswith("FILE:4:1: [key]: unknown key; the keys here are")


@given(st.text())
def test_any_text_is_refused_in_words(text: str) -> None:
    """A text that no one thought of would take down the controller instead of being refused."""
    refused(text)


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["5%", "10s"])
)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_BASE = load(Path(__file__).parents[2] / "config/examples/canary.yaml").config.model_dump(mode="json", by_alias=True)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_a_good_file_is_refused_in_words_or_taken(data: st.DataObject) -> None:
    """A value of the wrong shape somewhere deep would raise, or be refused without message, remedy or place."""
    tree = yaml.safe_load(yaml.safe_dump(_BASE))
    node, key = tree, data.draw(st.sampled_from(sorted(tree)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    node[key] = data.draw(_TREES)
    assert all(problem.message and problem.remedy for problem in problems_of(yaml.safe_dump(tree, allow_unicode=True)))

"""What is let out of a body, and that nothing else is."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.capture import POLICIES, Field, Policy
from proxy.data.answers import redaction
from proxy.data.answers.redaction import Rules

KEY = b"k" * 32


def field(path: str, policy: Policy) -> Field:
    return Field(tuple(path.split(".")), policy)


def applied(document: Any, other: Policy = "drop", key: bytes = KEY, **fields: Policy) -> Any:
    rules = Rules([field(path.replace("__", "."), policy) for path, policy in fields.items()], other, key)
    return rules.apply(document)[0]


def test_what_is_not_named_is_not_there() -> None:
    """A payload that somebody extends would be stored with what nobody decided on."""
    person = {"name": "Ann Lee", "age": 41, "more": {"ssn": "1-2-3", "zip": 9}}
    rules = Rules([Field(("people", "*", "age"), "keep"), Field(("people", "*", "more", "zip"), "keep")], "drop", KEY)
    assert rules.apply({"people": [person, {"name": "Bo"}], "x": 1}) == (
        {"people": [{"age": 41, "more": {"zip": 9}}, None]},
        False,
    )
    assert applied({"x": 1}, people="keep") is None
    assert applied([1, 2]) is None
    assert applied("text") is None


def test_a_longer_path_says_more_than_a_shorter_one() -> None:
    """An exception in a part that is kept, or the other way round, could not be said."""
    document = {"a": {"b": "secret-b", "c": "secret-c", "d": ["secret-d"]}}
    assert applied(document, a="keep", a__b="drop") == {"a": {"c": "secret-c", "d": ["secret-d"]}}
    assert applied(document, a="drop", a__b="keep") == {"a": {"b": "secret-b"}}
    assert applied(document, other="keep", a__d="drop") == {"a": {"b": "secret-b", "c": "secret-c"}}
    found = applied(document, other="hash", a__c="keep")
    assert found["a"]["c"] == "secret-c"
    assert all(re.fullmatch("[0-9a-f]{12}", found["a"][name]) for name in "bd")


def test_paths_go_into_lists_by_place_and_by_all() -> None:
    """The second row of a batch would come out by the rule of none."""
    rows = {"rows": [{"a": 1, "b": 2}, {"a": 3}, "odd"]}
    assert applied(rows, **{"rows__*__a": "keep"}) == {"rows": [{"a": 1}, {"a": 3}, None]}
    assert applied(rows, rows__1="keep") == {"rows": [None, {"a": 3}, None]}
    assert applied([[1, 2], [3]], **{"*__0": "keep"}) == [[1, None], [3]]
    assert applied({"rows": {"a": 1}}, **{"rows__*__a": "keep"}) is None, "a member is no element"
    assert applied({"rows": []}, **{"rows__*": "keep"}) is None
    assert applied({"rows": []}, rows="keep") == {"rows": []}


def test_masks_and_hashes_look_like_those_of_labels() -> None:
    """The same person would have two names in two places."""
    found = applied({"a": "Ann Lee", "b": "Ann Lee", "c": 7, "d": "7", "e": [1, 2], "f": True, "g": None}, other="hash")
    assert found["a"] == found["b"]
    assert found["c"] == found["d"]
    assert len({*found.values()}) == 5
    assert applied({"a": "Ann Lee"}, other="mask")["a"].startswith("A…e#")
    short = applied({"a": "Ann", "b": True, "c": False, "d": None}, other="mask")
    assert all(re.fullmatch("…#[0-9a-f]{6}", value) for value in short.values()), short
    assert re.fullmatch(r"\[…\]#[0-9a-f]{6}", applied({"a": ["Ann", "Bo"]}, other="mask")["a"])


@pytest.mark.parametrize("policy", ["hash", "mask"])
def test_without_a_key_what_would_need_it_is_dropped(policy: Policy) -> None:
    """Whoever can hash finds each value by trying them all."""
    assert applied({"a": "Ann Lee", "b": 1}, key=b"", a=policy, b="keep") == {"b": 1}
    assert Rules([], "drop", b"").text("Ann Lee", policy) is None


def test_what_is_looked_at_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One body of numbers would have a worker serve nobody for a while, and nothing would say that some are missing."""
    monkeypatch.setattr(redaction, "MAX_ELEMENTS", 3)
    monkeypatch.setattr(redaction, "MAX_DIGESTS", 2)
    rules = Rules([field("a.*", "keep"), field("b", "hash")], "drop", KEY)
    assert rules.apply({"a": [1, 2, 3]}) == ({"a": [1, 2, 3]}, False)
    assert rules.apply({"a": [1, 2, 3, 4]}) == ({"a": [1, 2, 3]}, True)
    found, cut = rules.apply({"b": {"x": 1, "y": 2, "z": 3}})
    assert (found["b"]["z"], cut) == ("…", True)


def test_a_deep_body_is_no_trouble() -> None:
    """A thousand brackets would end the worker's sweep."""
    deep: Any = "secret"
    for _ in range(500):
        deep = {"a": deep}
    for policy in POLICIES:
        found, _ = Rules([], policy, KEY).apply(deep)
        assert policy == "keep" or "secret" not in json.dumps(found)


# --- a law: what is masked, hashed or dropped is in no byte that leaves

names = st.sampled_from(["a", "b", "rows", "user", "x"])
plain = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "ok", "Zoë"])


bodies = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=25
)


def marked(document: Any, at: tuple[str, ...] = ()) -> Any:
    """The same with a text of its own at each leaf, that says where it is."""
    if isinstance(document, dict):
        return {name: marked(value, (*at, name)) for name, value in document.items()}
    if isinstance(document, list):
        return [marked(value, (*at, str(index))) for index, value in enumerate(document)]
    return "leaf<" + "/".join(at) + ">of-a-person"


def leaves(document: Any, at: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    if isinstance(document, dict):
        return [found for name, value in document.items() for found in leaves(value, (*at, name))]
    if isinstance(document, list):
        return [found for index, value in enumerate(document) for found in leaves(value, (*at, str(index)))]
    return [(at, document)]


def holds(document: Any, path: tuple[str, ...], at: tuple[str, ...]) -> bool:
    """Whether a path leads to a place or above it: `*` only over elements of lists."""
    here = document
    for step, name in zip(path, at, strict=False):
        if step != name and not (step == "*" and isinstance(here, list)):
            return False
        here = here[int(name)] if isinstance(here, list) else here[name]
    return len(path) <= len(at)


steps = st.lists(st.sampled_from(["a", "b", "rows", "user", "*"]), min_size=1, max_size=4).map(tuple)


@settings(max_examples=400, deadline=None)
@given(bodies, st.dictionaries(steps, st.sampled_from(POLICIES), max_size=5), st.sampled_from(POLICIES))
def test_only_what_is_to_be_kept_leaves_as_it_is(
    body: Any, fields: dict[tuple[str, ...], Policy], other: Policy
) -> None:
    """A person's data would be stored, somewhere between the rules of a file and the shapes of bodies."""
    document = marked(body)
    rules = Rules([Field(path, policy) for path, policy in fields.items()], other, KEY)
    written = msgspec.json.encode(rules.apply(document)[0]).decode()
    for at, text in leaves(document):
        named = [(len(path), policy) for path, policy in fields.items() if holds(document, path, at)]
        policy = max(named, default=(0, other), key=lambda found: found[0])[1]
        assert (text in written) == (policy == "keep"), (at, policy, written)

"""What may be captured of a route."""

from __future__ import annotations

import doctest

import pytest
from pydantic import ValidationError

from config.routes import capture
from config.routes.capture import Capture, steps_of


def test_examples_in_docstrings() -> None:
    """The documentation of this module would show what it does not do."""
    assert doctest.testmod(capture).failed == 0


def test_nothing_is_let_out_that_the_file_does_not_name() -> None:
    """Whoever asks for errors alone would store what users send."""
    given = Capture(errors=True)
    assert (given.other_fields, given.path, given.headers, given.fields, given.percent) == ("drop", "drop", {}, {}, 0)


@pytest.mark.parametrize("path", ["a", "a.b", "a[*].b", "[*]", "a[0][12].b", "a.*.b", "ümlaut.x-y_z", "a.0"])
def test_paths_that_are_taken(path: str) -> None:
    """A place of a body could not be named."""
    assert Capture(errors=True, fields={path: "keep"}).fields == {path: "keep"}
    assert "" not in steps_of(path)


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a.", "a..b", "a[", "a]b", "a[x]", "a[-1]", "a b", "[]", "a[*", ".".join("a" * 17), "a" * 257],
)
def test_paths_that_are_refused(path: str) -> None:
    """A path that means nothing would let nothing out, or all, and nobody would be told."""
    with pytest.raises(ValidationError):
        Capture(errors=True, fields={path: "keep"})


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "set-cookie", "X-API-Key", "x-apikey", "x-auth", "x-auth-user",
     "x-amz-security-token", "x-csrf", "x-session-id", "x-client-secret", "x-authentication", "x-jwt-claims"],
)  # fmt: skip
def test_credentials_are_kept_as_hashes_alone(name: str) -> None:
    """Whoever may read captures could be somebody else."""
    for policy in ("keep", "mask"):
        with pytest.raises(ValidationError):
            Capture(errors=True, headers={name: policy})
    for policy in ("hash", "drop"):
        assert Capture(errors=True, headers={name: policy}).headers == {name: policy}


@pytest.mark.parametrize("name", ["x-request-id", "x-author", "traceparent", "content-type", "x-model-version"])
def test_what_is_no_credential_may_be_kept(name: str) -> None:
    """A request could not be found by its id."""
    assert Capture(errors=True, headers={name: "keep"}).headers == {name: "keep"}


@pytest.mark.parametrize(
    ("fields", "other", "policy"),
    [
        ({}, "drop", "drop"),
        ({}, "keep", "keep"),
        ({"result": "mask"}, "keep", "mask"),
        ({"result": "mask", "result.labels": "drop"}, "keep", "drop"),
        ({"result.labels[*]": "keep", "result.labels": "drop"}, "drop", "keep"),
        ({"result.labels[*].name": "hash"}, "drop", "hash"),
        ({"other": "keep", "result.label": "keep"}, "hash", "hash"),
        ({"*.labels": "keep", "result.labels": "hash"}, "drop", "keep"),
    ],
)
def test_the_laxest_policy_that_reaches_a_place(fields, other, policy) -> None:
    """Labels that the file hides in one place would be let out in another."""
    given = Capture.model_validate({"errors": True, "fields": fields, "otherFields": other})
    assert given.laxest_at(("result", "labels")) == policy

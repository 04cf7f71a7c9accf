"""Secrets of a file that is shown."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config.document import read
from config.jsonschema import schema_json
from config.loader import loads
from config.masking import Masks, Place, leaves, secret_places
from config.values.problems import ConfigError

DIGESTS = ("ab" * 32, "cd" * 32)
TEXT = f"""\
# ö: a comment with {{brackets}}
listen: [{{address: 127.0.0.1:8080}}]
admin:
  tokens: [{{name: a, role: viewer, sha256: "{DIGESTS[0]}"}}, {{name: b, role: admin, sha256: {DIGESTS[1]}}}]   # two
backends: [{{name: v1, endpoints: [http://127.0.0.1:1]}}, {{name: v2, endpoints: [http://127.0.0.1:2]}}]
routes:
  - name: m
    match: [{{path: {{prefix: /m}}}}]
    backendRefs: [{{name: v1}}]
    mirrors:
      - backend: v2
        headers:
          set:
            authorization: 'Bearer it''s secret'
            x-key: &key >-
              folded
              secret
            x-other: *key
  - name: n
    match: [{{path: {{prefix: /n}}}}]
    backendRefs: [{{name: v1, role: stable}}, {{name: v2, role: canary}}]
    strategy: {{blueGreen: {{smoke: [{{path: /, headers: {{x-token: "of smoke", accept: any/thing}}}}]}}}}
    analysis: {{metrics: [{{name: errors, maxIncrease: 5pp}}]}}
"""


def test_secrets_are_masked_and_nothing_else():
    """Broken: GET of the configuration shows credentials, or another file than the one that is live."""
    shown = Masks().hide(TEXT)
    for secret in (*DIGESTS, "secret'", "folded", "of smoke"):
        assert secret not in shown
    assert shown.count("masked-") == 6
    assert shown.splitlines()[:3] == TEXT.splitlines()[:3]
    assert "# two" in shown
    assert "x-other: *key" in shown


def test_a_mask_comes_back_as_its_secret():
    """Broken: whoever edits the configuration by the API writes masks into the file."""
    masks = Masks()
    shown = masks.hide(TEXT)
    assert masks.reveal(shown, TEXT, "f") == TEXT
    edited = masks.reveal(shown.replace("role: viewer", "role: operator"), TEXT, "f")
    assert loads(edited, "f").config.admin.tokens[0].sha256 == DIGESTS[0]


def test_a_mask_of_something_else_is_refused():
    """Broken: a header field of copies has the value `masked-…`."""
    with pytest.raises(ConfigError, match="f:4:"):
        Masks().reveal(Masks().hide(TEXT), TEXT, "f")


def test_masks_tell_nothing():
    """Broken: a short secret can be guessed from its mask."""
    assert Masks().hide(TEXT) != Masks().hide(TEXT)


def test_the_address_of_a_webhook_is_masked():
    """Broken: who may read the configuration could write into somebody's chat."""
    text = (
        "routes:\n  - webhooks:\n"
        "      - {name: chat, url: https://hooks.slack.com/services/T0/B0/xyz, metadata: {a: shown}}\n"
    )
    masks = Masks()
    hidden = masks.hide(text)
    assert "xyz" not in hidden
    assert "slack.com" not in hidden
    assert "shown" in hidden
    assert masks.reveal(hidden, text, "f") == text


@pytest.mark.parametrize("strategy", ["recreate", "rollingUpdate"])
def test_the_address_of_a_strategys_hook_is_masked(strategy):
    """Broken: who may read the configuration could stop somebody's models."""
    text = f"routes:\n  - strategy: {{{strategy}: {{hook: {{url: https://swap.example.com/s3cret}}, bake: 10m}}}}\n"
    masks = Masks()
    hidden = masks.hide(text)
    assert "s3cret" not in hidden
    assert "bake: 10m" in hidden
    assert masks.reveal(hidden, text, "f") == text


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30), st.sampled_from("'\""))
def test_any_value_comes_back(value, quote):
    """Broken: a secret with quotes, colons or hashes in it is cut."""
    written = value.replace("'", "''") if quote == "'" else value.replace("\\", "\\\\").replace('"', '\\"')
    text = TEXT.replace("'Bearer it''s secret'", f"{quote}{written}{quote}")
    masks = Masks()
    shown = masks.hide(text)
    assert f"{quote}{written}{quote}" not in shown or len(written) < 3
    assert masks.reveal(shown, text, "f") == text


EVERY_SECRET = """\
listen: [{address: 127.0.0.1:8080}]
admin: {tokens: [{name: a, role: viewer, sha256: "DIGEST"}]}
backends:
  - {name: v1, endpoints: [http://127.0.0.1:1], healthCheck: {path: /ready}}
  - {name: v2, endpoints: [http://127.0.0.1:2], healthCheck: {path: /ready}}
  - {name: v3, endpoints: [http://127.0.0.1:3, http://127.0.0.1:4], healthCheck: {path: /ready}}
  - {name: v4, endpoints: [http://127.0.0.1:3, http://127.0.0.1:4], healthCheck: {path: /ready}}
routes:
  - name: switched
    match: [{path: {prefix: /a}}]
    backendRefs: [{name: v1}, {name: v2, role: canary}]
    mirrors: [{backend: v2, headers: {set: {authorization: SECRET1}}}]
    webhooks: [{name: chat, type: event, url: http://h/SECRET2}]
    strategy: {blueGreen: {smoke: [{path: /x, headers: {Authorization: SECRET3}}]}}
  - name: replaced
    match: [{path: {prefix: /b}}]
    backendRefs: [{name: v3}, {name: v4, role: canary}]
    strategy: {rollingUpdate: {hook: {url: http://h/SECRET6}, smoke: [{path: /x, headers: {X-Key: SECRET7}}]}}
  - name: swapped
    backendRefs: [{name: v1}, {name: v2, role: canary}]
    strategy: {recreate: {hook: {url: http://h/SECRET4}, smoke: [{path: /x, headers: {X-Key: SECRET5}}]}}
"""
"""A file with a secret at every place where there may be one."""
SHOWN = {
    "accessLog.headers.*": "names",
    "admin.tls.certificates.*.keyFile": "where it is, not what it holds",
    "admin.tokens.*.env": "where it is",
    "backends.*.tls.keyFile": "where it is",
    "listen.*.tls.certificates.*.keyFile": "where it is",
    "routes.*.mirrors.*.headers.remove.*": "names",
    "store.url": "a password in it is refused",
    **dict.fromkeys(
        f"routes.*.{hook}.{part}"
        for hook in ("webhooks.*", "strategy.recreate.hook", "strategy.rollingUpdate.hook")
        for part in ("metadata.*", "secret.env", "secret.file")
    ),
    **dict.fromkeys(
        f"routes.*.strategy.{strategy}.smoke.*.{part}"
        for strategy in ("blueGreen", "recreate", "rollingUpdate")
        for part in ("body", "expect.json.*")
    ),
}
"""Places that look like secrets and are none. What is sent along word for word (`metadata`) and what a smoke request
asks (`body`) are no place for them, which docs/configuration.md says."""
COMPARED = re.compile(r"\.(match|sessionAffinity|rateLimits\.\*\.key)\b")
"""What requests are compared with, and names of where a key is read."""
LOOKS_SECRET = re.compile("(?i)header|url|token|secret|passw|credential|authoriz|cookie|key|sha256|body|query|\\*$")
"""By its name, or since it stands in a mapping or a list of texts that a user thinks of."""


def told(place: Place) -> str:
    return ".".join("*" if key is None else key for key in place)


def free_texts() -> set[str]:
    """Places of the file where any text may stand."""
    found = set()
    for place, described in leaves(schema_json()):
        pattern = described.get("pattern", "^/")
        fixed = {"enum", "const"} & described.keys() or not pattern.startswith(("^/", "^http", "^(sqlite"))
        if described.get("type", "string") == "string" and not fixed:
            found.add(told(place))
    return found


def test_whatever_looks_like_a_secret_is_one_or_is_known_not_to_be():
    """Broken: somebody adds a setting that takes a credential, and it is shown to whoever may look.

    A new place: give its type `config.values.section.SECRET`, or name it in SHOWN with the reason.
    """
    secret = {told(place) for place in secret_places()}
    doubtful = {place for place in free_texts() if LOOKS_SECRET.search(place) and not COMPARED.search(place)}
    lists = re.compile(r"\.(endpoints|trustedProxies|metrics|retryOn)\.\*$")
    assert sorted(place for place in doubtful - secret - SHOWN.keys() if not lists.search(place)) == []
    assert sorted(SHOWN.keys() - free_texts()) == [], "a place that is no more"
    assert secret >= {"admin.tokens.*.sha256", "routes.*.webhooks.*.url", "routes.*.mirrors.*.headers.set.*"}


def secrets_of(text: str) -> dict[Place, list[str]]:
    """What stands at the places of secrets."""
    found: dict[Place, list[str]] = {place: [] for place in secret_places()}
    for loc, place in read(text, "").places.items():
        for secret in found:
            if len(secret) == len(loc) and all(key in (None, at) for key, at in zip(secret, loc, strict=True)):
                found[secret].append(place.text or "")
    return found


def test_every_secret_is_masked():
    """Broken: one of the places is forgotten where the configuration is shown; a new one has to be in EVERY_SECRET."""
    text = EVERY_SECRET.replace("DIGEST", DIGESTS[0])
    assert loads(text, "f").config
    for place, values in secrets_of(text).items():
        assert values, f"add one at {told(place)} to EVERY_SECRET"
        assert not any(value in Masks().hide(text) for value in values), told(place)
    assert "SECRET" not in Masks().hide(text)


@pytest.mark.parametrize(
    "wrong", ["[hunter2, 1]", "{hunter2: 1}", '"hunter2\\u0001 "', "1234598765", "hunter2" * 500, ""]
)
def test_no_refusal_shows_a_secret(wrong):
    """Broken: a secret with a slip in it stands in the log, and in the answer to whoever validates a file."""
    text = EVERY_SECRET.replace("DIGEST", DIGESTS[0])
    for values in secrets_of(text).values():
        for value in values:
            bad = text.replace(f'"{value}"', value).replace(value, wrong)
            with pytest.raises(ConfigError) as caught:
                loads(bad, "f")
            said = "\n".join(map(str, caught.value.problems))
            assert "hunter2" not in said, said
            assert "1234598765" not in said, said


@pytest.mark.parametrize(
    "place",
    [
        ("admin", "tokens"),
        ("admin", "tokens", 0),
        ("routes", 0, "webhooks", 0),
        ("routes", 0, "webhooks", 0, "secret"),
        ("routes", 0, "mirrors", 0, "headers", "set"),
        ("routes", 0, "mirrors", 0, "headers"),
    ],
)
def test_nor_where_it_stands_in_place_of_its_part(place):
    """Broken: whoever writes `secret: hunter2` for `secret: {file: …}` has it in the log, status and answers."""
    document = part = yaml.safe_load(EVERY_SECRET.replace("DIGEST", DIGESTS[0]))
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = "hunter2"
    with pytest.raises(ConfigError) as caught:
        loads(json.dumps(document), "f")
    said = "\n".join(map(str, caught.value.problems))
    assert "is text, where a" in said
    assert "hunter2" not in said

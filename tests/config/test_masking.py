"""Secrets of a file that is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loader import loads
from config.masking import Masks
from config.problems import ConfigError

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


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30), st.sampled_from("'\""))
def test_any_value_comes_back(value, quote):
    """Broken: a secret with quotes, colons or hashes in it is cut."""
    written = value.replace("'", "''") if quote == "'" else value.replace("\\", "\\\\").replace('"', '\\"')
    text = TEXT.replace("'Bearer it''s secret'", f"{quote}{written}{quote}")
    masks = Masks()
    shown = masks.hide(text)
    assert f"{quote}{written}{quote}" not in shown or len(written) < 3
    assert masks.reveal(shown, text, "f") == text

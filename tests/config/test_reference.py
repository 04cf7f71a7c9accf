"""The reference and the schema for editors are those of this release."""

from pathlib import Path

import pytest

from config.jsonschema import schema_json
from config.keys import places
from config.loader import load
from config.reference import EXAMPLES, NAMES, reference_markdown

ROOT = Path(__file__).parents[2]


def test_the_written_reference_is_current() -> None:
    """People would read of settings that are not there. Run `understudy schema --markdown > docs/configuration.md`."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8").rstrip() == reference_markdown().rstrip()


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_valid(name: str) -> None:
    """What people copy first would be refused."""
    assert load(EXAMPLES / f"{name}.yaml").config.routes


def test_no_example_is_left_out() -> None:
    """An example would be in the folder and in no document or test."""
    assert sorted(path.stem for path in EXAMPLES.iterdir()) == sorted(NAMES)


def test_every_key_is_explained() -> None:
    """A setting would stand in the reference and in editors without a word about it."""
    mute = [
        f"{place}.{key}"
        for place, schema in places()
        for key, value in schema["properties"].items()
        if not value.get("description") and "$ref" not in value
    ]
    assert mute == []


def test_the_schema_is_closed() -> None:
    """An editor would not mark a misspelt key."""
    schemas = [schema_json(), *schema_json()["$defs"].values()]
    assert all(schema["additionalProperties"] is False for schema in schemas)
    assert schema_json()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_defaults_are_written_as_in_a_file() -> None:
    """An editor would insert seconds as a number, which the loader refuses."""
    analysis = schema_json()["$defs"]["Analysis"]["properties"]
    assert analysis["minDuration"]["default"] == "10m"
    assert schema_json()["$defs"]["Admin"]["properties"]["address"]["default"] == "127.0.0.1:9901"
    assert "null" not in str(schema_json()["$defs"]["Route"])

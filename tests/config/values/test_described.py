"""The texts below attributes: in the schema, whoever has inherited them, and not read before somebody asks."""

from __future__ import annotations

import subprocess
import sys

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from config.values.described import Described, attribute_docstrings


class Base(Described):
    """What others begin with."""

    model_config = ConfigDict(alias_generator=to_camel)

    first_of_all: int = 1
    """Of the base.

    In two paragraphs.
    """
    overruled: int = 2
    """Of the base, too."""


class Heir(Base):
    """It says one thing otherwise."""

    overruled: int = 3
    """Of the heir."""
    silent: int = 4
    told: int = Field(5, description="By the field itself.")
    """Below the field."""
    other: Base = Base()
    """Another one."""


def test_the_schema_has_the_texts_under_the_names_that_the_file_has() -> None:
    """If this fails, the reference and editors show settings without a word of what they do."""
    properties = Heir.model_json_schema()["properties"]
    assert {name: value.get("description") for name, value in properties.items()} == {
        "firstOfAll": "Of the base.\n\nIn two paragraphs.",
        "overruled": "Of the heir.",
        "silent": None,
        "told": "By the field itself.",
        "other": "Another one.",
    }
    assert Heir.model_json_schema()["description"] == "It says one thing otherwise."


def test_classes_within_others_are_found() -> None:
    """If this fails, a class that moves into a function or another class loses its texts."""

    class Within(Described):
        class Deeper(Described):
            deep: int = 0
            """Far down."""

        near: int = 0
        """Close by."""

    assert attribute_docstrings(Within) == {"near": "Close by."}
    assert attribute_docstrings(Within.Deeper) == {"deep": "Far down."}


def test_nothing_is_parsed_by_those_who_do_not_ask() -> None:
    """If this fails, each controller parses its own source for a tenth of the time in which it starts."""
    code = (
        "import ast, config.loader, proxy.admin.endpoints\n"
        "from config.values.described import _of_module\n"
        "assert not _of_module.cache_info().currsize\n"
        "ast.parse = None\n"
        "class More(config.loader.Config): pass\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

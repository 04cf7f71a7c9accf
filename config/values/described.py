"""Models whose attributes are described by the text below them, which is read only where somebody asks for a schema.

Pydantic can do it while it makes a class, but parses the source of each one for it: a tenth of the time in which the
controller starts, for texts that a running Understudy does not show.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Described(BaseModel):
    """A model whose JSON schema has the docstrings of its attributes."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in attribute_docstrings(cls).items():
            field = cls.model_fields.get(name)
            if field is not None and (field.alias or name) in properties:
                properties[field.alias or name].setdefault("description", text)
        return schema


def attribute_docstrings(cls: type[Any]) -> dict[str, str]:
    """What stands below each attribute of a class, and of those that it inherits."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if issubclass(each, Described) and each is not Described:
            found |= _of_module(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    """Of each class of a module, by the names of both. Empty where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except OSError:
        return {}
    return dict(_of_classes(tree, ""))


def _of_classes(parent: ast.AST, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}{node.name}", dict(_of_body(node))
            yield from _of_classes(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield from _of_classes(node, f"{prefix}{node.name}.<locals>.")


def _of_body(cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for before, node in zip(cls.body, cls.body[1:], strict=False):
        match before, node:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)

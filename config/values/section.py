"""What all parts of the schema share: strictness, camelCase keys, and refusals that carry their remedy.

A value with a notation of its own (a duration, a margin, a step) is read as what the file says and then turned into
the value that the program uses. `Parsed` is that turn, with the way back, so that a configuration can be written out
as it would stand in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from config.values.described import Described
from config.values.problems import Finding

REFUSED = "refused"
"""The type of an error whose message and remedy are already in plain words."""
SECRET: Mapping[str, Any] = {"writeOnly": True}
"""What the JSON schema says of a value that nobody is shown (`config.masking`); no refusal shows it either."""


class Section(Described):
    """A part of the file: unknown keys are refused, types are not guessed, and nothing changes after it was read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)


class OneKey(Section):
    """A part of the file that has exactly one of its keys, apart from those that may stand `beside` it."""

    model_config = ConfigDict(json_schema_extra=lambda schema, cls: schema.update(_exactly_one(cls)))
    beside: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        names = self.choices()
        given = [to_camel(name) for name in names if name in self.model_fields_set]
        if len(given) != 1:
            keys = ", ".join(map(to_camel, names))
            what = f"has {' and '.join(given)}" if given else "is incomplete" if self.beside else "is empty"
            raise refusal(what, f"give exactly one of {keys}" if len(names) > 1 else f"give `{keys}`")
        if getattr(self, self.only) is None:
            raise refusals(Finding((given[0],), "has no value", _value_of(given[0])))
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}

    @classmethod
    def choices(cls) -> tuple[str, ...]:
        """The attribute names of which one is given."""
        return tuple(name for name in cls.model_fields if name not in cls.beside)

    @property
    def only(self) -> str:
        """The attribute name of the key that was given."""
        return next(name for name in self.choices() if name in self.model_fields_set)


def _exactly_one(model: type[Any]) -> dict[str, Any]:
    if not model.beside:
        return {"minProperties": 1, "maxProperties": 1}
    return {"oneOf": [{"required": [to_camel(name)]} for name in model.choices()]}


@dataclass(frozen=True, eq=False)
class Parsed:
    """How a value is read from the file and written back, to stand in an `Annotated` type.

    `parse` gets what the file says, or a valid `form` if one is named, and raises `refusal` or `refusals`. `before`
    turns a short notation into the form. `json_schema` describes what the file may say; without it the form does.
    """

    parse: Callable[[Any], Any]
    show: Callable[[Any], Any]
    json_schema: Mapping[str, Any] = field(default_factory=dict)
    form: Any = None
    before: Callable[[Any], Any] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.any_schema() if self.form is None else handler.generate_schema(self.form)
        if self.before is not None:
            inner = core_schema.no_info_before_validator_function(self.before, inner)
        written = core_schema.plain_serializer_function_ser_schema(self.show)
        return core_schema.no_info_after_validator_function(self.parse, inner, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if self.form is None:
            return dict(self.json_schema)
        described = handler(schema)
        if self.before is not None:
            described = {"anyOf": [{"type": "string"}, described]}
        return {**described, **self.json_schema}


def refusal(message: str, remedy: str) -> PydanticCustomError:
    """An error at the value that is being read."""
    return PydanticCustomError(REFUSED, "{message}", {"message": message, "remedy": remedy})


def refusals(*findings: Finding) -> ValidationError:
    """Errors at places inside the value that is being read; `loc` starts from that value."""
    details = [
        InitErrorDetails(type=refusal(finding.message, finding.remedy), loc=finding.loc, input=None)
        for finding in findings
    ]
    return ValidationError.from_exception_data("settings", details)


def _value_of(key: str) -> str:
    return {
        "pause": "write `pause: {}` to wait for a person, or `pause: {duration: 10m}`",
        "analysis": "write `analysis: {}`, or say how many samples it needs: `analysis: {minSamples: 1000}`",
    }.get(key, f"write one after `{key}:`, or take the key away")

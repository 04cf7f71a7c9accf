"""The JSON Schema of the file, for editors, rendered from the one definition of every setting."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from config.schema import Config
from config.values.section import Section


class _Editors(GenerateJsonSchema):
    """What a file may say: absent rather than null, defaults as they would be written."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if default is None or default == {} or default == () or isinstance(default, Section):
            return described
        inner = schema["schema"]
        written = inner.get("serialization", {})
        show = written.get("function") if isinstance(written, dict) else None
        return {**described, "default": show(default) if show else self.encode_default(default)}


@cache
def schema_json() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file, for editors that complete and check while one types."""
    schema = Config.model_json_schema(schema_generator=_Editors)
    breaker = schema["$defs"]["Analysis"]["properties"]["breaker"]
    schema["$defs"]["Analysis"]["properties"]["breaker"] = {
        "anyOf": [{"$ref": breaker.pop("$ref")}, {"type": "null"}],
        **breaker,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Understudy"}

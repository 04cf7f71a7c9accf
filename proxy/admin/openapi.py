"""The OpenAPI document, written from the table of endpoints and the models that requests are read by.

What every endpoint may answer is said once here: 400 where it takes something, 404 where it names a route, 413 where
it has a body, 500, and what `access` refuses with. OpenAPI 3.1 has the JSON Schema that pydantic writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from proxy.admin.documents import Problem
from proxy.admin.endpoints import Endpoint
from proxy.admin.parameters import Parameters
from proxy.admin.problems import CONTENT_TYPE

Json = dict[str, Any]
_REF: Final = "#/components/schemas/{model}"
_PATH_NAME: Final = re.compile(r"{(\w+)}")


def document(endpoints: Iterable[Endpoint], version: str) -> Json:
    """The description of these endpoints."""
    listed = tuple(endpoints)
    taken = {model for e in listed for model in (e.query, e.body) if model is not None}
    answered = {e.answer for e in listed if not isinstance(e.answer, str)} | {Problem}
    by_name = sorted(taken | answered, key=lambda model: model.__name__)
    refs, found = models_json_schema(
        [(model, "validation" if model in taken else "serialization") for model in by_name], ref_template=_REF
    )
    schemas = found["$defs"]
    described: dict[Any, Json] = {model: ref for (model, _), ref in refs.items()}
    paths: dict[str, Json] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, described, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Understudy: admin API", "version": version},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(endpoint: Endpoint, described: dict[Any, Json], schemas: Json) -> Json:
    named = _PATH_NAME.findall(endpoint.path)
    operation: Json = {"summary": endpoint.text, "operationId": _operation_id(endpoint)}
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named]
    if endpoint.query is not None:
        parameters += _of_query(endpoint.query, schemas)
    if 428 in endpoint.problems:
        parameters.append({"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}})
    if parameters:
        operation["parameters"] = parameters
    content = {} if endpoint.body is None else {"application/json": {"schema": described[endpoint.body]}}
    content |= {endpoint.takes: {"schema": {}}} if endpoint.takes else {}
    if content:
        operation["requestBody"] = {"required": _needs_body(endpoint), "content": content}
    operation["security"] = [] if endpoint.role == "public" else [{"token": []}]
    refusals = {500, *endpoint.problems} | (set() if endpoint.role == "public" else {401, 403, 421, 429, 503})
    refusals |= {404} if named else set()
    refusals |= {400, 413} if "requestBody" in operation else {400} if endpoint.query is not None else set()
    operation["responses"] = {
        "200": {"description": "done", "content": _content(endpoint, described)},
        **{str(status): _problem(status, described) for status in sorted(refusals)},
    }
    return operation


def _needs_body(endpoint: Endpoint) -> bool:
    """Whether a request without a body is refused; where all members have defaults, it stands for an empty object."""
    if endpoint.body is None:
        return False
    try:
        endpoint.body.model_validate({})
    except ValidationError:
        return True
    return False


def _content(endpoint: Endpoint, described: dict[Any, Json]) -> Json:
    if isinstance(endpoint.answer, str):
        content: Json = {endpoint.answer: {"schema": {"type": "string"} if endpoint.answer.startswith("text/") else {}}}
    else:
        content = {"application/json": {"schema": described[endpoint.answer]}}
    return content | {media_type: {"schema": {"type": "string"}} for media_type in endpoint.also}


def _problem(status: int, described: dict[Any, Json]) -> Json:
    return {"description": HTTPStatus(status).phrase, "content": {CONTENT_TYPE: {"schema": described[Problem]}}}


def _of_query(model: type[Parameters], schemas: Json) -> list[Json]:
    schema = schemas[model.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "description": value.get("description", ""),
            "schema": _present(value),
        }
        for name, value in schema["properties"].items()
    ]


def _present(value: Json) -> Json:
    """The schema of a value that is there: what may be left out is null in a model, and has no null in a query."""
    first = next((form for form in value.get("anyOf", ()) if form.get("type") != "null"), value)
    return {key: item for key, item in first.items() if key not in ("description", "title")}


def _operation_id(endpoint: Endpoint) -> str:
    if endpoint.path == "/":
        return "get-dashboard"
    words = [word for word in re.split(r"[^a-zA-Z0-9]+", endpoint.path) if word not in ("", "api", "v1")]
    return "-".join([endpoint.method.lower(), *words]) if words else "get-index"

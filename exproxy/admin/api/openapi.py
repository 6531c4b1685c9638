"""The API's document (OpenAPI 3.1), made from the table of routes: what is served and what is said agree."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from exproxy import __version__
from exproxy.admin.api.models import ProblemAnswer
from exproxy.admin.api.problem import MEDIA_TYPE
from exproxy.admin.api.route import PREFIX, Route, Table

_REFS = "#/components/schemas/{model}"
_WAYS: dict[str, list[dict[str, list[str]]]] = {
    "anyone": [],
    "read": [{"token": []}, {"session": []}, {}],
    "operate": [{"token": []}, {"session": [], "csrf": []}, {}],
}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Reads and writes values of that type."""
    return TypeAdapter(kind)


def document(table: Table) -> dict[str, Any]:
    """The document as a mapping ready for JSON."""
    wanted: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = []
    for route in table.routes:
        wanted.append((f"{route.method} {route.path} answer", "serialization", adapter(route.answer)))
        if route.body is not None:
            wanted.append((f"{route.method} {route.path} body", "validation", adapter(route.body)))
    wanted.append(("problem", "serialization", adapter(ProblemAnswer)))
    made, definitions = TypeAdapter.json_schemas(wanted, ref_template=_REFS)
    schemas = {key: value for (key, _), value in made.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in table.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "exproxy administration",
            "version": __version__,
            "description": "Roles: read sees everything, operate changes things too. On a loopback address "
            "without admin.tokens, and on the unix socket, everybody who reaches it may operate. Unknown "
            "keys and parameters are errors. What is refused is application/problem+json (RFC 9457).",
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "exproxy"},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    name = f"{route.method} {route.path}"
    content = {"application/json": {"schema": schemas[f"{name} answer"]}}
    if route.stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "x-role": route.needs,
        "security": _WAYS[route.needs],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {
            str(int(route.status)): {"description": route.status.phrase, "content": content},
            "default": {"description": "Refused", "content": {MEDIA_TYPE: {"schema": schemas["problem"]}}},
        },
    }
    if route.text:
        found["requestBody"] = {
            "required": True,
            "content": {"application/yaml": {"schema": {"type": "string"}}},
        }
    elif route.body is not None:
        body = {"application/json": {"schema": schemas[f"{name} body"]}}
        found["requestBody"] = {"required": True, "content": body}
    return found


def _operation_id(route: Route) -> str:
    """The handler's name; where it has two routes, the narrower one says so."""
    if route.path.endswith("/{key}"):
        return "move_entry"
    return route.handler.__name__ + ("_in_service" if "{service}/{server}/" in route.path else "")


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in route.names
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    properties = adapter(route.query).json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": each} for name, each in properties.items()]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if not route.changes or not route.path.endswith(("/state", "/weight")):
        return []
    what = "The ETag of the server or backend that the change is based on: 412 where it was changed since"
    return [{"name": "If-Match", "in": "header", "schema": {"type": "string"}, "description": what}]

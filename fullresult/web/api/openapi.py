"""The OpenAPI document, made from the operations that are routed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fullresult.web.api.schemas import ref
from fullresult.web.api.shapes import components
from fullresult.web.cookies import SESSION

if TYPE_CHECKING:
    from fullresult.web.api.fields import Field
    from fullresult.web.api.operation import Operation

_ABOUT = (
    "What the web pages of fullresult show and do, as JSON. A reader may GET; POST is for "
    "operators, and is written to the audit log. A request with a session's cookie must come from "
    "a page of the same site; one with a token need not."
)
_PROBLEMS = {
    400: "A field is wrong: `detail` names its value, and what to write.",
    401: "Nobody is logged in, and no token was sent.",
    403: "Only operators may act, or the request came from another site.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It was not done; `detail` says why.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "The header Host is not an allowed name.",
    501: "The storage does not have what it takes.",
    502: "The broker, or beat's plan, does not answer.",
    503: "The storage does not answer.",
}
_ALWAYS = (400, 401, 403, 421, 501, 503)
_OF_BODIES = (408, 409, 413, 415)


def openapi(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document, without `servers`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(f"/{operation.path}", {})[operation.method.lower()] = _of(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fullresult",
            "version": version("fullresult"),
            "description": _ABOUT,
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": "Of the pages; its name ends with the port, if there is one.",
                },
            },
        },
    }


def _of(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _ident(operation),
        "summary": operation.summary,
        "x-role": "operator" if operation.acts else "reader",
        "responses": _responses(operation),
    }
    if operation.about:
        told["description"] = operation.about
    if not operation.acts:
        told["parameters"] = [_parameter(field) for field in operation.fields]
        return told
    schema = {
        "type": "object",
        "properties": {f.name: _described(f) for f in operation.every_field},
        "required": [f.name for f in operation.fields if f.required],
        "additionalProperties": False,
    }
    told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return told


def _ident(operation: Operation) -> str:
    words = operation.path.replace("/", "-")
    return f"{'do' if operation.acts else 'get'}-{words}"


def _responses(operation: Operation) -> dict[str, Any]:
    done = {
        "description": operation.summary,
        "content": {"application/json": {"schema": operation.answer}},
    }
    found: dict[str, Any] = {"200": done}
    if operation.answer == ref("Report"):
        found["207"] = {**done, "description": "Done to some of them."}
    statuses = {*_ALWAYS, *operation.statuses, *(_OF_BODIES if operation.acts else ())}
    for status in sorted(statuses):
        found[str(status)] = {
            "description": _PROBLEMS[status],
            "content": {"application/problem+json": {"schema": ref("Problem")}},
        }
    return found


def _described(field: Field) -> dict[str, Any]:
    return {**field.schema, "description": field.told}


def _parameter(field: Field) -> dict[str, Any]:
    about = {
        "name": field.name,
        "in": "query",
        "required": field.required,
        "description": field.told,
    }
    if field.kind.in_json:
        return {**about, "content": {"application/json": {"schema": field.schema}}}
    return {**about, "schema": field.schema}

"""The routes of the API: one for each operation, and the OpenAPI document of them all."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from fullresult.web.api import (
    acting_groups,
    acting_queues,
    acting_tasks,
    reading_failures,
    reading_fleet,
    reading_tasks,
)
from fullresult.web.api.operation import endpoint
from fullresult.web.problems import json_answer
from fullresult.web.site import root_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ROOT = "/api/v1"

operations = (
    *reading_tasks.operations,
    *reading_fleet.operations,
    *reading_failures.operations,
    *acting_tasks.operations,
    *acting_groups.operations,
    *acting_queues.operations,
)


@cache
def _document() -> dict[str, Any]:
    """Made when it is asked for: it takes the types of everything."""
    from fullresult.web.api.openapi import openapi

    return openapi(operations)


def document(request: Request) -> Response:
    """The OpenAPI document, whose server is where the pages are mounted."""
    return json_answer({**_document(), "servers": [{"url": f"{root_of(request)}{ROOT}"}]})


routes = [
    *(Route(f"{ROOT}/{each.path}", endpoint(each), methods=[each.method]) for each in operations),
    Route(f"{ROOT}/openapi.json", document),
]

"""Answers of the HTTP API: JSON, and problems as RFC 9457 has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from fullresult.record.encoding import clip

HOME = "api/"
"""Everything below this path is answered in JSON."""
_LONGEST = 2_000


def json_answer(document: Any, status: int = 200, kind: str = "application/json") -> Response:
    """*document* as JSON in ASCII, as it may hold text that no encoding takes."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("ascii"), status, media_type=kind)


def problem(status: int, detail: str, more: Mapping[str, Any] | None = None) -> Response:
    """What is wrong, in a sentence; *more* are members of the problem's own."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": clip(detail, _LONGEST),
        **(more or {}),
    }
    return json_answer(told, status, "application/problem+json")

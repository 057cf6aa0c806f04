"""One call of an ASGI app for a request of Django's."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote


def scope_of(request: Any, path: str) -> dict[str, Any]:
    """The ASGI scope of *request* for an app that is mounted above *path*."""
    root = request.path[: len(request.path) - len(path)].rstrip("/")
    headers = {name.lower(): value for name, value in request.headers.items()}
    port = str(request.get_port())  # behind a socket of Unix there is none
    headers["host"] = request.get_host()  # checked against ALLOWED_HOSTS
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": quote(request.path).encode(),
        "root_path": root,
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": (request.META.get("REMOTE_ADDR", ""), 0),
        "server": (request.META.get("SERVER_NAME", ""), int(port) if port.isdecimal() else 0),
    }


async def answer_of(
    app: Any, scope: dict[str, Any], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """The status, headers and body that *app* answers."""
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if pending:
            return pending.pop()
        # Nobody disconnects. An answer here would be asked for again, for ever.
        return await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    start, *parts = said
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]
    ]
    return start["status"], headers, b"".join(part.get("body", b"") for part in parts)

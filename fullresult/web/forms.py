"""What a form sends, bounded: fields by name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

LARGEST = 4 * 1024 * 1024
"""Bytes."""
_FIELDS = 20_000


class Form:
    """The fields of a form, each of which may come several times."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """The last value of a field."""
        found = self.getlist(name)
        return found[-1] if found else default

    def getlist(self, name: str) -> list[str]:
        """Its values, each once, in order."""
        return list(dict.fromkeys(value for key, value in self._pairs if key == name))

    def pairs(self, *names: str) -> list[tuple[str, str]]:
        """The fields called so, to be sent once more."""
        return [(key, value) for key, value in self._pairs if key in names]


def key_of(task_id: str) -> str:
    """*task_id*, which may be any text, as the value of a field that a browser leaves as it is."""
    return quote(task_id, safe="")


def ids_of(asked: Form | QueryParams) -> list[str]:
    """The task ids that a form or a link names, each once, in order."""
    return list(dict.fromkeys([*asked.getlist("id"), *map(unquote, asked.getlist("key"))]))


async def read_form(request: Request) -> Form:
    """The form of *request*. Raises Starlette's `HTTPException` where it is none, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise HTTPException(415, "Only forms are taken here.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"The form is larger than {LARGEST:,} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS
        )
    except ValueError:
        raise HTTPException(413, f"The form has more than {_FIELDS:,} fields.") from None
    return Form(pairs)

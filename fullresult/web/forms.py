"""The forms that browsers send: fields by name, of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from anyio import fail_after
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fullresult.actions.missing import seen_as

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from fullresult.record import TaskRecord


class Bounds(NamedTuple):
    """The bounds of a form."""

    size: int
    """Bytes."""
    fields: int
    seconds: float
    """Seconds until all of it must have come."""


KNOWN = Bounds(4 * 1024 * 1024, 20_000, 120.0)
STRANGER = Bounds(16 * 1024, 20, 10.0)
"""For people who have not logged in: a name and a password."""
_LONGEST_NUMBER = 12
AT_ONCE = 64 * 1024
"""Bytes up to which the event loop parses a body; parsing more would keep others waiting."""


class Form:
    """The fields of a form; each may come several times."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """The last value of the field *name*."""
        found = self.getlist(name)
        return found[-1] if found else default

    def getlist(self, name: str) -> list[str]:
        """The values of the field *name*, each once, in order."""
        return list(dict.fromkeys(value for key, value in self._pairs if key == name))

    def pairs(self, *names: str) -> list[tuple[str, str]]:
        """The fields with one of *names*, to be sent once more."""
        return [(key, value) for key, value in self._pairs if key in names]


def number_of(text: str | None) -> int:
    """The number that a field or a link has; 0 of anything else."""
    return int(text) if text and text.isdecimal() and len(text) < _LONGEST_NUMBER else 0


def key_of(task_id: str) -> str:
    """*task_id* as the value of a field that no browser changes: percent-encoded."""
    return quote(task_id, safe="")


def seen_key(record: TaskRecord) -> str:
    """`key_of` a task, and what `seen_as` says of it when the page is drawn."""
    return f"{key_of(record.task_id)} {seen_as(record)}"


def ids_of(asked: Form | QueryParams) -> list[str]:
    """The task ids of a form or a link, each once, in order."""
    return list(seen_of(asked))


def seen_of(asked: Form | QueryParams) -> dict[str, str | None]:
    """The task ids, each with what `seen_as` said on the page; None if the page does not say."""
    found: dict[str, str | None] = dict.fromkeys(asked.getlist("id"))
    for value in asked.getlist("key"):
        key, _, seen = value.partition(" ")
        found.setdefault(unquote(key), seen or None)
    return found


async def read_form(request: Request, bounds: Bounds = KNOWN) -> Form:
    """Read the form of *request*.

    Raises Starlette's `HTTPException` for what is no form, or is beyond *bounds*.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise HTTPException(415, "Only forms are taken here.")
    body = await read_body(request, bounds)
    if len(body) <= AT_ONCE:
        return _read(body, bounds)
    return await run_in_threadpool(_read, body, bounds)


async def read_body(request: Request, bounds: Bounds = KNOWN, what: str = "form") -> bytes:
    """The body of *request*. Raises Starlette's `HTTPException` if it is beyond *bounds*."""
    chunks, size = [], 0
    try:
        with fail_after(bounds.seconds):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > bounds.size:
                    raise HTTPException(413, f"The {what} is larger than {bounds.size:,} bytes.")
    except TimeoutError:
        text = f"The {what} did not come within {bounds.seconds:.0f} seconds."
        raise HTTPException(408, text, {"connection": "close"}) from None
    return b"".join(chunks)


def _read(body: bytes, bounds: Bounds) -> Form:
    text = body.decode("utf-8", "replace")
    try:
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=bounds.fields))
    except ValueError:
        raise HTTPException(413, f"The form has more than {bounds.fields:,} fields.") from None

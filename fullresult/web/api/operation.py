"""An operation of the API: its declaration, and the endpoint that follows from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from starlette.concurrency import run_in_threadpool

from fullresult.insight.ids import whole_id
from fullresult.record import encoding
from fullresult.web.api.fields import Field, Wrong, read_object, read_query, shown, text
from fullresult.web.forms import AT_ONCE, read_body
from fullresult.web.problems import json_answer, problem
from fullresult.web.site import site_of, visit_of

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person
    from fullresult.extension import FullResult
    from fullresult.extension.reading import Reading
    from fullresult.web.api.schemas import Schema
    from fullresult.web.site import Site

ONCE = Field(
    "once",
    text(200),
    "A text of your own that names this request. The process that acted upon it answers 409 to a "
    "second one by the same person.",
)
BEHIND = "FullResult-Behind"
"""The header of what was read from a replica: the seconds it is behind at most, or `unknown`."""
_BEHIND = "fullresult.behind"
_LACKING = {
    "audit": "This storage keeps no audit log.",
    "failures": "This storage does not group failures.",
    "replays": "This storage keeps no replays.",
    "schedules": "This storage keeps no schedules: no task can wait in it.",
    "statistics": "This storage makes no statistics.",
    "workers": "This storage does not keep which workers are alive.",
}


class Refused(Exception):
    """What was asked for is not done; the message says why."""

    def __init__(self, status: int, detail: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.more = more


@dataclass(frozen=True)
class Call:
    """One request that is understood."""

    request: Request
    site: Site
    now: datetime
    given: Mapping[str, Any]
    """The values of the fields that were given or have a default."""

    @property
    def full(self) -> FullResult:
        return self.site.full

    @property
    def reading(self) -> Reading:
        """The records to look through; the answer's header says how far they are behind."""
        reading = self.full.reading
        self.request.scope[_BEHIND] = reading.behind
        return reading

    @property
    def person(self) -> Person:
        person = visit_of(self.request).person
        assert person is not None  # the guard lets nobody else through
        return person

    def get(self, name: str) -> Any:
        return self.given.get(name)

    def __getitem__(self, name: str) -> Any:
        return self.given[name]


@dataclass(frozen=True)
class Answer:
    """A document with a status of its own."""

    document: dict[str, Any]
    status: int


@dataclass(frozen=True)
class Operation:
    """One address of the API, and all that routes, reads and describes it."""

    method: Literal["GET", "POST"]
    """POST acts: for operators alone, and written to the audit log."""
    path: str
    """Below `/api/v1/`."""
    summary: str
    fields: tuple[Field, ...]
    answer: Schema
    do: Callable[[Call], dict[str, Any] | Answer]
    """Answers a document. Raises `Refused`; `ValueError` for what is asked wrongly; `LookupError`
    for what is not there; `StorageError`."""
    about: str = ""
    """More about it."""
    needs: Literal["", "audit", "failures", "replays", "schedules", "statistics", "workers"] = ""
    """The ability that the storage must have."""
    statuses: tuple[int, ...] = ()
    """Those of problems, besides what any operation answers."""

    @property
    def acts(self) -> bool:
        return self.method == "POST"

    @property
    def every_field(self) -> tuple[Field, ...]:
        return (*self.fields, ONCE) if self.acts else self.fields


def endpoint(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        site, visit = site_of(request), visit_of(request)
        if visit.person is None or (operation.acts and not visit.person.may_act):
            return problem(403, "You may look but not act: only operators may act.")
        if operation.needs and not getattr(site.can, operation.needs):
            return problem(501, _LACKING[operation.needs])
        if not operation.acts:
            return await run_in_threadpool(_answer, operation, request, None)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            text = f"The body must be application/json, not {shown(kind)}."
            return problem(415, text)
        body = await read_body(request, what="body")
        if len(body) <= AT_ONCE:
            parsed = _parsed(body)
        else:
            parsed = await run_in_threadpool(_parsed, body)
        if isinstance(parsed, Wrong):
            return problem(400, str(parsed))
        return await run_in_threadpool(_answer, operation, request, parsed)

    return answer


def _parsed(body: bytes) -> Any:
    """What the JSON of *body* holds; `Wrong` if it is none."""
    try:
        return encoding.loads_strict(body.decode())
    except RecursionError:
        return Wrong("The body is nested too deeply.")
    except ValueError as error:
        return Wrong(f"The body is no JSON: {error}")


def _answer(operation: Operation, request: Request, body: Any) -> Response:
    try:
        return _done(operation, request, body)
    except Wrong as error:
        return problem(400, str(error), {"field": error.name} if error.name else None)
    except Refused as error:
        return problem(error.status, str(error), error.more)
    except ValueError as error:
        return problem(400, _sentence(error))
    except LookupError as error:
        if type(error) is not LookupError:  # a KeyError is a fault of ours
            raise
        return problem(404, _sentence(error))


def _done(operation: Operation, request: Request, body: Any) -> Response:
    site, visit = site_of(request), visit_of(request)
    now = site.now()
    if not operation.acts:
        given = read_query(operation.fields, request.query_params, now)
    else:
        if request.query_params:
            name = next(iter(request.query_params))
            raise Wrong(f"{shown(name)} must stand in the body, as all fields of a POST do.")
        given = read_object(operation.every_field, body, now)
    given = _with_whole_ids(operation, site, given)
    with _once(operation, request, given):
        found = operation.do(Call(request, site, now, given))
    answer = found if isinstance(found, Answer) else Answer(found, 200)
    if operation.acts:
        answer.document["unwritten"] = visit.unwritten
    if answer.status < 400:  # noqa: PLR2004
        return _told(request, json_answer(answer.document, answer.status))
    detail = answer.document.pop("detail")
    return problem(answer.status, detail, answer.document)


def _told(request: Request, response: Response) -> Response:
    behind = request.scope.get(_BEHIND)
    if behind is not None and behind.is_read:
        seconds = behind.seconds
        response.headers[BEHIND] = "unknown" if seconds is None else f"{seconds:.3f}"
    return response


def _with_whole_ids(operation: Operation, site: Site, given: dict[str, Any]) -> dict[str, Any]:
    """*given*, where ids of which only the beginning stands are whole. Raises `Wrong`."""
    storage, found = site.full.storage, dict(given)
    for name in (field.name for field in operation.fields if field.names_task):
        value = given.get(name)
        try:
            if isinstance(value, tuple):
                found[name] = tuple(whole_id(storage, each, of_uuids=True) for each in value)
            elif value is not None:
                found[name] = whole_id(storage, value, of_uuids=True)
        except LookupError as error:
            raise Wrong(f"{name}: {encoding.safe_str(error)}", name) from None
    return found


@contextmanager
def _once(operation: Operation, request: Request, given: dict[str, Any]) -> Iterator[None]:
    """Raises `Refused` if a request of this name was acted upon; one that was wrong was not."""
    site, person, once = site_of(request), visit_of(request).person, given.pop("once", None)
    if once is None or person is None:
        yield
        return
    name = f"api {operation.path} {person.name} {once}"
    if not site.once.first_time(name):
        text = f"The request {shown(once)} was acted upon already, and is not again: see /audit."
        raise Refused(409, text)
    try:
        yield
    except (ValueError, LookupError) as error:
        if not isinstance(error, (KeyError, IndexError)):  # The answer is 400 or 404.
            site.once.forget(name)
        raise


def _sentence(error: Exception) -> str:
    text = encoding.safe_str(error.args[0] if error.args else error)
    return f"{text[:1].upper()}{text[1:]}"

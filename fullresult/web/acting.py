"""What people do here: once, by whoever may, on what they saw, and written down."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool

from fullresult.actions.batch import BROKER_ERRORS, NotDone
from fullresult.record.encoding import safe_str
from fullresult.storage import AuditStorage, StorageError
from fullresult.web.cookies import check_token
from fullresult.web.forms import Form, key_of, read_form
from fullresult.web.site import site_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person

T = TypeVar("T")
Do = Callable[["Request", Form, "Person"], "Response"]

logger = logging.getLogger(__name__)

PATIENCE = 4.0
"""Seconds that one request may act; what is left waits for the next."""


def action(do: Do) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that takes a form and does *do*, which may block.

    Only for operators, only from a form of ours, and each form once.
    """

    async def endpoint(request: Request) -> Response:
        site, visit = site_of(request), visit_of(request)
        person = visit.person
        if person is None or not person.may_act:
            return site.error(request, 403, "You may look, but not act: that takes an operator.")
        form = await read_form(request)
        if not check_token(request, form):
            return site.error(
                request, 403, "This form is not of this session. Go back, load the page anew."
            )
        if not visit.by_header and not site.first_time(form.get("once")):
            return site.error(
                request, 409, "This form was sent already, and is not acted upon twice."
            )
        answer = await run_in_threadpool(do, request, form, person)
        if visit.unwritten is None or not answer.headers.get("location"):
            return answer  # a page says it by itself
        text = f"It was done, but it is not in the audit log: {visit.unwritten}"
        return site.error(request, 500, text, "Done, but not written down")

    return endpoint


class Result(NamedTuple):
    """What became of one task."""

    task_id: str
    new_id: str | None = None
    problem: str | None = None
    """Why it was not done."""


class Batch(NamedTuple):
    """What one request did."""

    results: list[Result]
    unfinished: bool
    """Time was up: there may be more to do."""
    stopped: str | None = None
    """Why it did not go on, where time was not the reason."""

    @property
    def done(self) -> list[Result]:
        return [result for result in self.results if result.problem is None]

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.problem is not None]

    def left(self, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Those of *ids* that were not tried, as a form sends them once more."""
        tried = {result.task_id for result in self.results}
        return [("key", key_of(task_id)) for task_id in ids if task_id not in tried]


def run(items: Iterable[tuple[str, T]], do: Callable[[T], str | None]) -> Batch:
    """*do* each of *items*, by task id, until time is up; it answers a new id, or raises `NotDone`.

    Where it does, the others go on. Raises `StorageError` only where nothing was tried before.
    """
    results: list[Result] = []
    try:
        return _run(items, do, results)
    except StorageError as error:
        if not results:
            raise
        # What was done is to be told, and written down.
        return Batch(results, unfinished=True, stopped=safe_str(error))


def _run(
    items: Iterable[tuple[str, T]], do: Callable[[T], str | None], results: list[Result]
) -> Batch:
    broken, until = 0, time.monotonic() + PATIENCE
    for task_id, item in items:
        if results and time.monotonic() > until:
            return Batch(results, unfinished=True)
        try:
            results.append(Result(task_id, new_id=do(item)))
            broken = 0
        except NotDone as error:
            results.append(Result(task_id, problem=safe_str(error)))
            broken = broken + 1 if error.is_of_broker else 0
        if broken >= BROKER_ERRORS:
            return Batch(results, unfinished=True, stopped="The broker does not answer.")
    return Batch(results, unfinished=False)


def write_down(
    request: Request,
    person: Person,
    what: str,
    task_ids: Sequence[str],
    details: dict[str, Any] | None = None,
    outcome: str = "done",
) -> None:
    """Keep in the audit log that *person* did *what*. A failure is said, and undoes nothing."""
    full = site_of(request).full
    told = (person.name, what, len(task_ids), list(task_ids[:3]), outcome)
    logger.info("fullresult: %s did %s to %d tasks, first %r: %s", *told)
    if not isinstance(full.storage, AuditStorage):
        return
    try:
        full.audit(
            what,
            actor=person.name,
            task_ids=task_ids,
            details={"by": "web", **(details or {})},
            outcome=outcome,
        )
    except StorageError as error:
        logger.exception("fullresult: not in the audit log: %s did %s to %d tasks", *told[:3])
        visit_of(request).unwritten = str(error)


def write_down_batch(
    request: Request, person: Person, what: str, batch: Batch, details: dict[str, Any] | None = None
) -> None:
    """Keep what a batch did, and what it could not."""
    if batch.done:
        new = {r.task_id: r.new_id for r in batch.done if r.new_id and r.new_id != r.task_id}
        more = {"new_ids": new} if new else {}
        ids = [result.task_id for result in batch.done]
        write_down(request, person, what, ids, {**(details or {}), **more})
    for result in batch.failed:
        why = {**(details or {}), "problem": result.problem}
        write_down(request, person, what, [result.task_id], why, "failed")

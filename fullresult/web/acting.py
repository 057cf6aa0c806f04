"""Acting: checks who may act and that a form acts once, and writes deeds down."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from fullresult.actions.batch import Batch
from fullresult.storage import StorageError
from fullresult.web.cookies import check_token
from fullresult.web.forms import Form, read_form
from fullresult.web.site import site_of, visit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fullresult.config.users import Person

Do = Callable[["Request", Form, "Person"], "Response"]

logger = logging.getLogger(__name__)


def action(do: Do) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that takes a form and calls *do*, which may block.

    Only for operators, only with a form of ours, and once for each form.
    """

    async def endpoint(request: Request) -> Response:
        site, visit = site_of(request), visit_of(request)
        person = visit.person
        if person is None or not person.may_act:
            return site.error(request, 403, "You may look but not act: only operators may act.")
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


def write_down(
    request: Request,
    person: Person,
    what: str,
    task_ids: Sequence[str],
    details: dict[str, Any] | None = None,
    outcome: str = "done",
) -> None:
    """Write to the audit log that *person* did *what*.

    A failure to write is shown on the page, and undoes nothing.
    """
    full = site_of(request).full
    summary = (person.name, what, len(task_ids), list(task_ids[:3]), outcome)
    logger.info("fullresult: %s did %s to %d tasks, first %r: %s", *summary)
    if not site_of(request).can.audit:
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
        logger.exception("fullresult: not in the audit log: %s did %s to %d tasks", *summary[:3])
        visit_of(request).unwritten = str(error)


def write_down_batch(
    request: Request, person: Person, what: str, batch: Batch, details: dict[str, Any] | None = None
) -> None:
    """Write to the audit log what a batch did, and what it could not do."""
    if batch.done:
        new = {r.task_id: r.new_id for r in batch.done if r.new_id and r.new_id != r.task_id}
        more = {"new_ids": new} if new else {}
        ids = [result.task_id for result in batch.done]
        write_down(request, person, what, ids, {**(details or {}), **more})
    for result in batch.failed:
        why = {**(details or {}), "problem": result.problem}
        write_down(request, person, what, [result.task_id], why, "failed")

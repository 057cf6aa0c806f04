"""Calls that were not sent, as a test looks at them and runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from celery import Celery, current_app, signature, states
from celery.app.task import Context

from fullresult.django.rolling_back import RollingBack
from fullresult.django.site import app_of_site

_OF_CELERY = ("result_cls", "task_type")
"""What `apply_async` adds for itself."""

capturing: ContextVar[CapturedTasks | None] = ContextVar("fullresult_captured", default=None)


class CapturedTask(NamedTuple):
    """A call that was not sent."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    task_id: str
    options: dict[str, Any]
    """The other options of `apply_async`: `countdown`, `queue`, …"""


class CapturedTasks(list[CapturedTask]):
    """The calls in their order.

    One that would have waited for a commit is gone once its transaction, or savepoint, is rolled
    back. What is published without an outbox is sent before that, and stays.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rolling_back = RollingBack()

    @property
    def names(self) -> list[str]:
        return [task.name for task in self]

    def keep(self, given: Sequence[Any], options: Mapping[str, Any], connection: Any) -> None:
        """Add a call of `send_task`; it goes with the transaction of *connection*, if any."""
        parts = dict(zip(("name", "args", "kwargs"), given, strict=False))
        rest = {k: v for k, v in options.items() if v is not None and k not in _OF_CELERY}
        name, task_id = str(parts.get("name") or rest.pop("name", "")), rest.pop("task_id")
        args = parts.get("args") or rest.pop("args", None) or ()
        kwargs = parts.get("kwargs") or rest.pop("kwargs", None) or {}
        task = CapturedTask(name, tuple(args), dict(kwargs), str(task_id), rest)
        self.append(task)
        if connection is not None:
            self._rolling_back.note(connection, lambda: self._take_out(task))

    def _take_out(self, task: CapturedTask) -> None:
        self[:] = [each for each in self if each is not task]

    def run(self) -> list[Any]:
        """Run the tasks here, in their order, and those that they publish; the answers are theirs.

        So are those that are linked to them, the rest of a chain, and the body of a chord after the
        last task of its header. A task's exception goes on. No ETA is waited for.
        """
        app, results = app_of_site() or current_app, []
        token = capturing.set(self)  # also after the block: what they publish is not sent either
        try:
            while self:
                results.append(_run(app, self.pop(0)))
        finally:
            capturing.reset(token)
        return results


def _run(app: Celery, task: CapturedTask) -> Any:
    options = {name: task.options.get(name) for name in ("link", "link_error")}
    run = app.tasks[task.name].apply(
        args=task.args, kwargs=task.kwargs, task_id=task.task_id, throw=True, **options
    )
    answer, rest = run.get(), list(task.options.get("chain") or ())
    if run.state != states.SUCCESS:
        return answer
    if rest:
        signature(rest.pop(), app=app).apply_async((answer,), chain=rest)
    if task.options.get("chord"):
        # An eager run tells no result backend, and that publishes the body.
        app.tasks[task.name].backend.mark_as_done(task.task_id, answer, _request_of(task))
    return answer


def _request_of(task: CapturedTask) -> Context:
    """What a worker knows of it."""
    options = task.options
    return Context(
        id=task.task_id,
        task=task.name,
        args=task.args,
        kwargs=task.kwargs,
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        chord=options["chord"],
        root_id=options.get("root_id"),
        parent_id=options.get("parent_id"),
    )

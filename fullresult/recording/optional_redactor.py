"""The redactor of an app, or none: where `fullresult_redact` has no rule, nothing is hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.app.task import Context
from celery.states import EXCEPTION_STATES

from fullresult.recording.given_result import GivenResult
from fullresult.recording.message import Call
from fullresult.recording.redacted_errors import Hide
from fullresult.recording.redaction import Redactor
from fullresult.recording.requests import arguments_of, name_of
from fullresult.recording.running_tasks import RunningTask, running_tasks


class OptionalRedactor:
    """Asks the redactor, if there is one; otherwise everything may be kept as it is."""

    def __init__(self, redactor: Redactor | None) -> None:
        self.redactor = redactor
        """None if there is no rule. A plugin that is added later may bring one."""

    @property
    def call(self) -> Callable[[Call], Call] | None:
        """Answers a call as it may be recorded; None if there is no rule."""
        return None if self.redactor is None else self.redactor.call

    def covers(self, call: Call) -> bool:
        """True if something of *call* is not to be recorded."""
        return self.redactor is not None and bool(self.redactor.call(call).redacted)

    def result(self, name: str | None, value: Any) -> Any:
        """The result of a task called *name*, as it may be kept."""
        return value if self.redactor is None else self.redactor.result(name, value)

    def given(self, given: GivenResult) -> GivenResult:
        """*given* as it may be kept.

        An exception in `value` stays as it is: the recorder hides in the texts it makes of it.
        """
        redactor, request = self.redactor, given.request
        if redactor is None:
            return given
        name, value = name_of(request), given.value
        hide: tuple[()] | tuple[Hide] = ()
        if given.state in EXCEPTION_STATES:
            hide = self.errors_of(request, name)
        else:
            value, _ = redactor.stored(name, value, None)
        encoded, traceback = redactor.stored(name, given.encoded, given.traceback, *hide)
        return given._replace(value=value, encoded=encoded, traceback=traceback)

    def errors(
        self, name: str | None, args: Any = None, kwargs: Any = None
    ) -> tuple[()] | tuple[Hide]:
        """Hides in an error what is hidden of these arguments; empty if there is no rule.

        The hidden arguments of the tasks that run here count too: the error may be theirs.
        """
        if self.redactor is None:
            return ()
        return (self.redactor.of_errors([RunningTask(name, args, kwargs), *running_tasks()]),)

    def errors_of(self, request: Context | None, name: str | None) -> tuple[()] | tuple[Hide]:
        """As `errors`, for the arguments of *request*, if that is known."""
        if request is None:
            return self.errors(name)
        return self.errors(name, *arguments_of(request))

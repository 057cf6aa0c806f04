"""Messages as they are recorded, each to be described when the stamp of its event is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from celery.app.task import Context
from kombu.message import Message as Delivery

from fullresult.config.settings import Limits
from fullresult.record import Message, encoding
from fullresult.record.headers import RETRY_OF
from fullresult.recording import capture
from fullresult.recording.message import Call
from fullresult.recording.optional_redactor import OptionalRedactor

Describe = Callable[[str], Message]
"""Makes the message of an event, given its stamp."""
Resent = tuple[str, Message] | None
"""The task that is sent once more, and its message."""


class Descriptions:
    """Describes the messages of one app, within its limits and without what is redacted."""

    def __init__(self, limits: Limits, redactor: OptionalRedactor) -> None:
        self._limits = limits
        self._redactor = redactor

    def of_call(self, call: Call) -> Describe:
        again = call.headers.get(RETRY_OF)
        if not isinstance(again, str):
            return lambda stamp: capture.capture(call, stamp, self._limits, self._redactor.call)
        return lambda stamp: capture.capture(
            call, stamp, self._limits, self._redactor.call
        )._replace(retry_of=encoding.key(again))

    def of_resend(self, task_id: str, known: Message, call: Call) -> Describe:
        """The message *known* of the task *task_id*, sent once more as *call* says."""
        return lambda stamp: capture.capture_again(
            known, call, stamp, self._limits, self._redactor.call
        )._replace(retry_of=task_id)

    def of_schedule(
        self,
        call: Call,
        due: datetime | None,
        *,
        with_content: bool,
        again: Resent = None,
    ) -> Describe:
        """The message of *call*, which waits in the storage until *due*, or for its commit.

        *again* is what it sends once more.
        """
        describe_call = self.of_resend(*again, call) if again else self.of_call(call)

        def describe(stamp: str) -> Message:
            described = describe_call(stamp)._replace(eta=due)
            return described if with_content else capture.without_content(described)

        return describe

    def of_request(self, request: Context, name: str) -> Describe:
        return lambda stamp: capture.capture_request(
            request, name, stamp, self._limits, self._redactor.call
        )

    def of_given_request(
        self, request: Context, name: str, never_ran: str | None = None
    ) -> Describe:
        """As `of_request`. A task that never ran never had a message, but has a name."""
        describe = self.of_request(request, name)
        if request.delivery_info:
            return describe
        why = never_ran or capture.IGNORED
        return lambda stamp: capture.without_content(describe(stamp), why)

    def of_delivery(self, delivery: Delivery) -> Describe:
        return lambda stamp: capture.capture_delivery(
            delivery, stamp, self._limits, self._redactor.call
        )

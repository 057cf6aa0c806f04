"""Messages as they are recorded, each to be described when the stamp of its event is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from celery.app.task import Context
from kombu.message import Message as Delivery

from fullresult.config.settings import Limits
from fullresult.record import Message
from fullresult.recording import capture
from fullresult.recording.message import Call
from fullresult.recording.optional_redactor import OptionalRedactor

Describe = Callable[[str], Message]
"""Makes the message of an event, given its stamp."""


class Descriptions:
    """Describes the messages of one app, within its limits and without what is redacted."""

    def __init__(self, limits: Limits, redactor: OptionalRedactor) -> None:
        self._limits = limits
        self._redactor = redactor

    def of_call(self, call: Call) -> Describe:
        return lambda stamp: capture.capture(call, stamp, self._limits, self._redactor.call)

    def of_resend(self, task_id: str, known: Message, call: Call) -> Describe:
        """The message *known* of the task *task_id*, sent once more as *call* says."""
        return lambda stamp: capture.capture_again(
            known, call, stamp, self._limits, self._redactor.call
        )._replace(retry_of=task_id)

    def of_schedule(self, call: Call, due: datetime | None, *, with_content: bool) -> Describe:
        """The message of *call*, which waits in the storage until *due*, or for its commit."""

        def describe(stamp: str) -> Message:
            described = self.of_call(call)(stamp)._replace(eta=due)
            return described if with_content else capture.without_content(described)

        return describe

    def of_request(self, request: Context, name: str) -> Describe:
        return lambda stamp: capture.capture_request(
            request, name, stamp, self._limits, self._redactor.call
        )

    def of_given_request(self, request: Context, name: str) -> Describe:
        """As `of_request`. The tail of a chain that failed never had a message, but has a name."""
        describe = self.of_request(request, name)
        if request.delivery_info:
            return describe
        return lambda stamp: capture.without_content(describe(stamp))

    def of_delivery(self, delivery: Delivery) -> Describe:
        return lambda stamp: capture.capture_delivery(
            delivery, stamp, self._limits, self._redactor.call
        )

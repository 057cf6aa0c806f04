"""The record of a task: its parts, and their values as Python objects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from fullresult.record import encoding, pages
from fullresult.record.executions import executions_of
from fullresult.record.headers import ENTRY_NAME, TRIGGERED
from fullresult.record.own_message import OwnMessage
from fullresult.record.parts import (
    REDACTED,
    Arguments,
    Children,
    Entry,
    Execution,
    Message,
    Outcome,
    Start,
    Stored,
)
from fullresult.record.resent import earlier_id_in, mark, new_id_in
from fullresult.record.states import PENDING, SCHEDULED, SCHEDULED_SENT, UNSENT


@dataclass(frozen=True)
class TaskRecord:
    """All that is known of one task id.

    An event is a record, too: one that knows only what just happened. `fullresult.record.merge`
    makes one record of two. Values are decoded when they are read, and never unpickled. Dates are
    aware, in UTC, to the millisecond.
    """

    task_id: str
    date_created: datetime
    date_updated: datetime
    date_published: datetime | None = None
    outcome: Outcome | None = None
    message: Message | None = None
    start: Start | None = None
    stored: Stored | None = None
    entries: tuple[Entry, ...] = ()
    resent: str | None = None
    """The mark that it was sent again after its outcome; see `record.resent`."""
    published_again: str | None = None
    """The stamp of the second publish of this id; None if there was one at most."""
    own: OwnMessage | None = None
    """The message of the run that the outcome with the same stamp is of; told if there are two."""

    def __repr__(self) -> str:
        return f"<TaskRecord {self.task_id} {self.name} {self.state}>"

    @property
    def state(self) -> str:
        return self.outcome.state if self.outcome else PENDING

    @property
    def sent(self) -> Message | None:
        """The message whose arguments are shown: of the run that the outcome is of, if known."""
        if self.own and self.outcome and self.own.stamp == self.outcome.stamp:
            return self.own.message
        return self.message

    @property
    def arguments_in_doubt(self) -> bool:
        """True if it may be another publish of this id that the outcome belongs to."""
        outcome = self.outcome
        if self.published_again is None or outcome is None or not outcome.date_started:
            return False
        return self.own is None or self.own.stamp != outcome.stamp

    @property
    def name(self) -> str | None:
        return self.message.name if self.message else None

    @property
    def args(self) -> Any:
        """The positional arguments as a list; None if they were not kept (see `notes`)."""
        return self.arguments.args

    @property
    def kwargs(self) -> Any:
        """The keyword arguments as a dict; None if they were not kept (see `notes`)."""
        return self.arguments.kwargs

    @property
    def arguments(self) -> Arguments:
        """`args` and `kwargs`, with the body that has both decoded once."""
        message = self.sent
        if message is None:
            return Arguments(None, None)
        if self._body is not None:
            return Arguments(self._body[0], self._body[1])
        texts = (message.args, message.kwargs)
        return Arguments(*(None if text is None else encoding.loads(text) for text in texts))

    @cached_property
    def _body(self) -> Any:
        """The body's three parts, decoded once; None if they cannot be."""
        sent = self.sent
        return sent and encoding.decode_body(sent.body, sent.content_type, sent.content_encoding)

    @property
    def embed(self) -> dict[str, Any]:
        """Links, errbacks, chain and chord: Celery's signatures as plain dicts."""
        sent = self.sent
        if sent is None or sent.embed is not None:
            return _mapping(sent and sent.embed)
        links = self._body[2] if self._body else None
        if isinstance(links, dict) and any(each is not None for each in links.values()):
            return links
        return {}

    @property
    def headers(self) -> dict[str, Any]:
        return _mapping(self.sent and self.sent.headers)

    @property
    def properties(self) -> dict[str, Any]:
        """How the message was published: the keywords of kombu's `Producer.publish`."""
        return _mapping(self.sent and self.sent.properties)

    @property
    def notes(self) -> dict[str, str]:
        """The parts of the message that this record lacks, and why."""
        text = self.sent.notes if self.sent else None
        return {} if text is None else dict(json.loads(text))

    @property
    def redacted(self) -> bool:
        """True if `fullresult_redact` hid a part of the message; `notes` says which."""
        return any(why.startswith(REDACTED) for why in self.notes.values())

    @property
    def argsrepr(self) -> str | None:
        return self._header("argsrepr")

    @property
    def kwargsrepr(self) -> str | None:
        return self._header("kwargsrepr")

    @property
    def origin(self) -> str | None:
        """The process that published it, as Celery names it (`gen123@host`)."""
        return self._header("origin")

    def _header(self, name: str) -> str | None:
        value = self.headers.get(name)
        return None if value is None else str(value)

    @property
    def periodic(self) -> bool:
        """True if beat sent it."""
        return bool(self.headers.get("celery_beat_task"))

    @property
    def periodic_entry(self) -> str | None:
        """The entry of beat's plan that it belongs to, whether beat or a person sent it."""
        return self._header(ENTRY_NAME)

    @property
    def triggered(self) -> bool:
        """True for a periodic task that a person sent."""
        return bool(self.headers.get(TRIGGERED))

    @property
    def stamps(self) -> dict[str, Any]:
        stamps = self.headers.get("stamps")
        return stamps if isinstance(stamps, dict) else {}

    @property
    def result(self) -> Any:
        """What the task returned; if `result_form` is "repr" or "cut", the text kept of it."""
        if self.outcome is None or self.outcome.result_form is None:
            return None
        if self.outcome.result_form == "text":
            return encoding.loads(self.outcome.result_text or "null")
        if self.outcome.result is not None:
            return encoding.loads(self.outcome.result)
        return self.outcome.result_text

    @property
    def result_form(self) -> str | None:
        return self.outcome.result_form if self.outcome else None

    @property
    def exception_type(self) -> str | None:
        return self.outcome.exception_type if self.outcome else None

    @property
    def exception_message(self) -> str | None:
        return self.outcome.exception_message if self.outcome else None

    @property
    def traceback(self) -> str | None:
        return self.outcome.traceback if self.outcome else None

    @property
    def retries(self) -> int:
        return self.outcome.retries if self.outcome else 0

    @property
    def eta(self) -> datetime | None:
        return self.message.eta if self.message else None

    @property
    def expires(self) -> datetime | None:
        return self.message.expires if self.message else None

    @property
    def queue(self) -> str | None:
        return self.message.queue if self.message else None

    @property
    def exchange(self) -> str | None:
        return self.message.exchange if self.message else None

    @property
    def routing_key(self) -> str | None:
        return self.message.routing_key if self.message else None

    @property
    def priority(self) -> int | None:
        return self.message.priority if self.message else None

    @property
    def worker(self) -> str | None:
        """The worker of the latest execution."""
        return self.outcome.worker if self.outcome else None

    @property
    def root_id(self) -> str | None:
        return self.message.root_id if self.message else None

    @property
    def parent_id(self) -> str | None:
        return self.message.parent_id if self.message else None

    @property
    def group_id(self) -> str | None:
        return self.message.group_id if self.message else None

    @property
    def retry_of(self) -> str | None:
        """The id of the task that this one re-sends."""
        return self.message.retry_of if self.message else None

    def sent_again(self, new_id: str | None, at: datetime) -> TaskRecord | None:
        """The event that it was sent again as *new_id*; None: that it was not, after all.

        There is none for a task of which no outcome is known.
        """
        if self.outcome is None:
            return None
        before = self.resent_before or self.resent_as
        again = mark(self.outcome.stamp, at, new_id, None if before == new_id else before)
        return TaskRecord(self.task_id, self.date_created, self.date_updated, resent=again)

    @property
    def resent_as(self) -> str | None:
        """The id of the task that was sent last in place of this one, as it stands now."""
        return None if self.resent is None else new_id_in(self.resent)

    @property
    def resent_before(self) -> str | None:
        """The id of the first task that was sent in place of this one, if there was one before."""
        return None if self.resent is None else earlier_id_in(self.resent)

    @property
    def fingerprint(self) -> str | None:
        """The group of failures that it belongs to; None if it did not fail."""
        return self.outcome.fingerprint if self.outcome else None

    @property
    def children(self) -> Children:
        """The ids of the tasks it published, in order; a group's members one by one."""
        return tuple(_flat(self._children()))

    @property
    def children_left_out(self) -> int:
        """The number of tasks it published that `children` lacks: the first 5,000 are kept."""
        return sum(each for each in self._children()[-1:] if isinstance(each, int))

    def _children(self) -> list[Any]:
        known = self.outcome and self.outcome.children
        return [] if known is None else list(json.loads(known))

    @property
    def executions(self) -> tuple[Execution, ...]:
        """Every run, oldest first."""
        return executions_of(self.start, self.entries, self.outcome)

    @property
    def date_started(self) -> datetime | None:
        """When the latest execution started."""
        if self.outcome is None:
            return None
        if self.outcome.date_started or self.outcome.state in _BEFORE_START:
            return self.outcome.date_started
        latest = [e for e in self.executions if e.retries == self.outcome.retries]
        return latest[-1].date_started if latest else None

    @property
    def date_done(self) -> datetime | None:
        return self.outcome.date_done if self.outcome else None

    @property
    def runtime(self) -> float | None:
        """Seconds the latest execution took."""
        if self.outcome is None or self.date_done is None:
            return None
        if self.outcome.runtime is not None or self.date_started is None:
            return self.outcome.runtime
        return (self.date_done - self.date_started).total_seconds()

    @property
    def cursor(self) -> str:
        """The position of this record in a listing, for `TaskQuery(after=…)`."""
        return pages.cursor(self.date_created, self.task_id)


_BEFORE_START = frozenset({SCHEDULED, SCHEDULED_SENT, PENDING, UNSENT})


def _mapping(text: str | None) -> dict[str, Any]:
    """The JSON object in *text*; {} if it is something else, as in a broken message."""
    value = None if text is None else encoding.loads(text)
    return value if isinstance(value, dict) else {}


def _flat(children: Iterable[Any]) -> Iterable[str]:
    for child in children:
        if isinstance(child, str):
            yield child
        elif isinstance(child, list):
            yield from _flat(child[1])

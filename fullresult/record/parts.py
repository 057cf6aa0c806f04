"""The parts of a record, each of which comes whole from one event; and a run of a task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

REDACTED = "redacted"
"""The first word of the note on a part that `fullresult_redact` has changed."""
PROTOCOL_1 = "published by message protocol 1"
"""The note on the body of such a message: it has the form of another one."""
Children = tuple[str, ...]


class Arguments(NamedTuple):
    """The arguments of a task; each is None if it was not kept."""

    args: Any
    """A list."""
    kwargs: Any
    """A dict."""


class Outcome(NamedTuple):
    """How a task stands. Of two outcomes the one with the greater stamp counts."""

    stamp: str
    state: str
    open: bool
    """True if something is still expected to happen: it is neither finished nor SCHEDULED."""
    retries: int
    worker: str | None
    date_started: datetime | None
    date_done: datetime | None
    stale_from: datetime
    """When it last moved, or its ETA on the broker, whichever is later."""
    runtime: float | None
    result: str | None
    """The result as JSON text, if every database can hold it."""
    result_text: str | None
    """The result as other text, if `result` cannot hold it; `result_form` says which."""
    result_form: str | None
    """"json"; "text", JSON that a database would refuse (NaN, NUL, lone surrogates); "forced";
    "repr"; "cut", for being too long. None: no result."""
    exception_type: str | None
    exception_message: str | None
    traceback: str | None
    children: str | None
    """JSON: a list of task ids, a group as [group_id, [task ids]]; last, the number left out."""
    expire_at: datetime | None = None
    """When the record may be deleted; None: never."""
    fingerprint: str | None = None
    """Of a failure: those that seem to have the same cause have the same one."""


class Message(NamedTuple):
    """The message a task was first published with. Of two the one with the lesser stamp counts."""

    stamp: str
    name: str | None
    args: str | None
    """JSON text for searching; None if JSON cannot hold it, and then `notes` says why."""
    kwargs: str | None
    embed: str | None
    """JSON text of the links, where `body` does not tell them."""
    body: bytes | None
    """The exact serialised body, before compression. It is never unpickled."""
    content_type: str | None
    content_encoding: str | None
    headers: str | None
    """JSON text, as kombu writes it."""
    properties: str | None
    """JSON text: how it was published, as the keywords of kombu's `Producer.publish`."""
    exchange: str | None
    routing_key: str | None
    queue: str | None
    priority: int | None
    eta: datetime | None
    expires: datetime | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    retry_of: str | None
    notes: str | None
    """JSON: the parts of the message that are missing here, and why."""


class Start(NamedTuple):
    """The first start of a task. Of two the one with the lesser stamp counts."""

    stamp: str
    worker: str | None
    date_started: datetime


class Stored(NamedTuple):
    """The value that a result backend was given. Of two the one with the greater stamp counts."""

    stamp: str
    body: bytes
    """As the result serializer made it. Never cut; unpickled by the backend only."""
    content_type: str
    content_encoding: str


class Entry(NamedTuple):
    """One event of an execution that did not simply succeed. Entries are never merged away."""

    stamp: str
    retries: int
    state: str
    worker: str | None
    date_started: datetime | None
    date_done: datetime | None
    exception_type: str | None
    exception_message: str | None
    traceback: str | None


@dataclass(frozen=True)
class Execution:
    """One run of a task by one worker; `state` is INTERRUPTED if it was cut off."""

    retries: int
    state: str
    worker: str | None
    date_started: datetime | None
    date_done: datetime | None
    exception_type: str | None = None
    exception_message: str | None = None
    traceback: str | None = None
    redelivered: bool = False
    """True if the broker had delivered its message before."""
    worker_id: str | None = None
    """The life of the worker; None if it has no heartbeat."""
    release: str | None = None
    """`fullresult_release` of that worker."""

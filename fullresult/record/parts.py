"""The parts of a record, each of one event as a whole, and a run of a task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

REDACTED = "redacted"
"""How the note on a part begins of which `fullresult_redact` hides something."""
Children = tuple[str, ...]


class Arguments(NamedTuple):
    """The arguments of a task; each is None where it was not kept."""

    args: Any
    """A list."""
    kwargs: Any
    """A dict."""


class Outcome(NamedTuple):
    """How a task stands. Of two, the one with the greater stamp is true."""

    stamp: str
    state: str
    open: bool
    """Something is still expected to happen: neither finished nor waiting in the storage."""
    retries: int
    worker: str | None
    date_started: datetime | None
    date_done: datetime | None
    stale_from: datetime
    """When it last moved or is due (a native ETA), whichever is later."""
    runtime: float | None
    result: str | None
    """JSON text that any database can hold, or None."""
    result_text: str | None
    """The result where `result` cannot hold it; `result_form` says what it is."""
    result_form: str | None
    """"json"; "text", JSON that a database would refuse (NaN, NUL, lone surrogates); "forced";
    "repr"; "cut", for being too long. None: no result."""
    exception_type: str | None
    exception_message: str | None
    traceback: str | None
    children: str | None
    """JSON: a list of task ids, a group as [group_id, [task ids]]."""
    expire_at: datetime | None = None
    """When the record may be deleted; None: never."""


class Message(NamedTuple):
    """The message a task was first published with. Of two, that with the lesser stamp is true."""

    stamp: str
    name: str | None
    args: str | None
    """JSON text for searching; None where JSON cannot hold it, and `notes` says why."""
    kwargs: str | None
    embed: str | None
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
    """JSON: what of the message is missing here, and why."""


class Start(NamedTuple):
    """The first start of a task. Of two, the one with the lesser stamp is true."""

    stamp: str
    worker: str | None
    date_started: datetime


class Stored(NamedTuple):
    """What a result backend was given of a task. Of two, that with the greater stamp is true."""

    stamp: str
    body: bytes
    """As the result serializer made it. It is never cut, and never unpickled but by the backend."""
    content_type: str
    content_encoding: str


class Entry(NamedTuple):
    """What happened to one execution that did not simply succeed. Kept for good."""

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
    """One run of a task by one worker; `state` is INTERRUPTED where it was cut off."""

    retries: int
    state: str
    worker: str | None
    date_started: datetime | None
    date_done: datetime | None
    exception_type: str | None = None
    exception_message: str | None = None
    traceback: str | None = None

"""Shapes: what tells apart how messages call their tasks, without their values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from fullresult.record.parts import PROTOCOL_1
from fullresult.record.task import TaskRecord


class Shape(NamedTuple):
    """Messages that call one task in one way, counted."""

    name: str | None
    queue: str | None
    content_type: str | None
    compression: str | None
    positional: int | None
    """The number of positional arguments; None if they were not kept."""
    keywords: tuple[str, ...] | None
    """The names of the keyword arguments, sorted; None if they were not kept."""
    protocol: int
    """Of the message: 1 or 2."""
    number: int
    """Of such messages."""
    example: str
    """The id of one of the tasks."""
    newest: datetime
    """When the newest of them was created."""
    first_due: datetime | None
    """The earliest ETA."""

    @classmethod
    def of(cls, record: TaskRecord) -> Shape:
        """The shape of one record."""
        message, (args, kwargs) = record.message, record.arguments
        keywords = tuple(sorted(map(str, kwargs))) if isinstance(kwargs, Mapping) else None
        return cls(
            record.name,
            record.queue,
            message.content_type if message else None,
            record.properties.get("compression"),
            len(args) if isinstance(args, (list, tuple)) else None,
            keywords,
            1 if record.notes.get("body") == PROTOCOL_1 else 2,
            1,
            record.task_id,
            record.date_created,
            record.eta,
        )

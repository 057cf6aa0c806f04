"""The file in which Flower keeps its tasks (`--persistent --db`)."""

from __future__ import annotations

import dbm
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fullresult.importers import pickles
from fullresult.importers.errors import CannotImport
from fullresult.importers.groups import Group
from fullresult.importers.pickled_values import Name, NotRead, Opaque
from fullresult.importers.row import Row, Unreadable, date, number, state_of, text
from fullresult.importers.source import Options, Read, read_one
from fullresult.importers.values import UNKNOWN, Given, given_repr, of_repr
from fullresult.record import encoding
from fullresult.record.states import PENDING, SUCCESS

_LARGEST = 1024 * 1024 * 1024
_TASK = Name("celery.events.state", "_depickle_task")
_EXCEPTIONS = ("FAILURE", "RETRY", "REVOKED", "REJECTED")
_EXPECTED = "the file of `flower --persistent=True --db=FILE`"


class Flower:
    """The tasks that Flower 1.0 to 2.2 had in memory when it last saved its file."""

    name = "flower"
    missing = "links, headers, priority, limits, the result itself"

    def __init__(self, path: str, options: Options) -> None:
        self.shown = path.removeprefix("file://")
        self._options = options
        self._tasks = list(self._found())

    def count(self, after: Any) -> int:  # noqa: ARG002
        return len(self._tasks)

    def pages(self, after: Any) -> Iterator[list[Read]]:  # noqa: ARG002
        """All pages, and no positions: Flower's next file has its tasks in another order."""
        size = self._options.page
        for start in range(0, len(self._tasks), size):
            tasks = enumerate(self._tasks[start : start + size], start + 1)
            page = [read_one(self._row, task, task.get("uuid"), place) for place, task in tasks]
            yield [row for row in page if not self._is_older(row)]

    def changed(self, since: datetime) -> Iterator[list[Read]]:  # noqa: ARG002
        raise CannotImport(
            "--follow: Flower writes its file as a whole, and only when it ends or is told to"
        )

    def groups(self) -> Iterator[Group]:
        """Flower keeps none."""
        return iter(())

    def close(self) -> None:
        self._tasks = []

    def _is_older(self, row: Read) -> bool:
        since = self._options.since
        return isinstance(row, Row) and None not in (since, row.changed) and row.changed < since  # type: ignore[operator]

    def _found(self) -> Iterator[Mapping[str, Any]]:
        """The fields of each task."""
        try:
            state = pickles.follow(self._read(), _LARGEST)
        except NotRead as error:
            raise CannotImport(f"{self.shown}: {error}; expected: {_EXPECTED}") from error
        caches = state.args if isinstance(state, Opaque) and isinstance(state.args, tuple) else ()
        for cache in caches:
            data = cache.state.get("data") if _has_state(cache) else None
            for task in data.values() if isinstance(data, dict) else ():
                if isinstance(task, Opaque) and task.name == _TASK and _has_fields(task):
                    yield task.args[1]

    def _read(self) -> bytes:
        path = Path(self.shown).expanduser()
        if not any(path.parent.glob(f"{path.name}*")):
            raise CannotImport(f"there is no file {path}; expected: {_EXPECTED}")
        try:
            with dbm.open(str(path), "r") as file:
                return bytes(file[b"events"])
        except KeyError:
            raise CannotImport(f"{self.shown} has no tasks; expected: {_EXPECTED}") from None
        except (*dbm.error, OSError, ValueError, SyntaxError) as error:
            raise CannotImport(f"{self.shown}: {error}; expected: {_EXPECTED}") from error

    def _row(self, fields: Mapping[str, Any]) -> Row:
        worker = fields.get("worker")
        known = pickles.plain({k: v for k, v in fields.items() if k in _KNOWN})
        zone, task_id = self._options.zone, known.get("uuid")
        if not isinstance(task_id, str):
            raise Unreadable("its id is no text")
        state = state_of(known.get("state") or PENDING)
        dates = [date(known, each, zone) for each in _DATES]
        parent = text(known.get("parent_id"))
        row = Row(
            task_id=task_id,
            state=state,
            changed=date(known, "timestamp", zone) or max(filter(None, dates), default=None),
            created=date(known, "received", zone),
            published=date(known, "sent", zone),
            started=date(known, "started", zone),
            name=text(known.get("name")),
            args=_argument(known.get("args")),
            kwargs=_argument(known.get("kwargs")),
            worker=_host(worker),
            retries=number(known.get("retries")),
            runtime=known["runtime"] if isinstance(known.get("runtime"), float) else None,
            exchange=text(known.get("exchange")),
            routing_key=text(known.get("routing_key")),
            eta=date(known, "eta", zone),
            expires=date(known, "expires", zone),
            root_id=text(known.get("root_id")),
            parent_id=None if parent == task_id else parent,
            children=[encoding.key(c) for c in known.get("children") or () if isinstance(c, str)],
            traceback=_text(known.get("traceback")),
        )
        if state in _EXCEPTIONS:
            shown = _text(known.get("exception"))
            row.exception_type, row.exception_message = of_repr(shown) if shown else (None, None)
        elif state == SUCCESS and known.get("result") is not None:
            row.result = Given(text=_text(known["result"]))
        return row


_DATES = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected")
_KNOWN = frozenset(
    {"uuid", "name", "state", "args", "kwargs", "eta", "expires", "retries", "result", "exception"}
    | {"timestamp", "runtime", "traceback", "exchange", "routing_key", "root_id", "parent_id"}
    | {"children", *_DATES}
)


def _has_state(value: Any) -> bool:
    return isinstance(value, Opaque) and isinstance(value.state, dict)


def _has_fields(task: Opaque) -> bool:
    args = task.args
    return isinstance(args, tuple) and len(args) == 2 and isinstance(args[1], dict)  # noqa: PLR2004


def _host(worker: Any) -> str | None:
    args = worker.args if isinstance(worker, Opaque) else None
    host = args[0] if isinstance(args, tuple) and args else None
    return text(host) if isinstance(host, str) else None


def _argument(value: Any) -> Given:
    """Events have arguments as reprs, cut by Celery."""
    return UNKNOWN if value is None else given_repr(str(value))


def _text(value: Any) -> str | None:
    return None if value is None else encoding.safe_str(value)

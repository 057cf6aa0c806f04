"""One record in full, as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fullresult.cli.terminal import bold, dim, in_colour
from fullresult.insight.document import plain
from fullresult.insight.safe_text import lines, one_line, safe
from fullresult.insight.timeline import timeline_of
from fullresult.insight.words import call, count_of, local_exactly, span
from fullresult.record import Execution, TaskRecord
from fullresult.record.encoding import clip
from fullresult.record.schedule import Schedule

_LONGEST = 4000
_CHILDREN = 100
_LONGEST_TRACEBACK = 20_000
_SHORT = 76
_INDENT = "  "
_BAR = "  │ "
"""Before each line of a task's own text, so that it cannot look like a line of ours."""
_LABEL = 16


def page_of(
    record: TaskRecord, again: Sequence[TaskRecord], schedules: Sequence[Schedule] = ()
) -> Iterator[str]:
    """The lines that `show` prints.

    *again* are the tasks sent again from this one, *schedules* what of it waits to be sent.
    """
    yield bold(call(record))
    redacted = "  (redacted)" if record.redacted else ""
    yield f"{in_colour(record.state, safe(record.state))}  {safe(record.task_id)}{redacted}"
    yield from _section("Timeline", _timeline(record))
    for schedule in schedules:
        yield from _section("Schedule", _schedule(schedule))
    runs = len(record.executions)
    yield from _section(count_of(runs, "execution") if runs else "Exception", _runs(record))
    yield from _section("Arguments", _arguments(record))
    yield from _section("Result", _result(record))
    yield from _section("Identity", _identity(record, again))
    yield from _section("Routing", _routing(record))
    yield from _section("Links", _mapping(record.embed))
    yield from _section("Headers", _mapping(record.headers))
    yield from _section("Properties", _mapping(record.properties))
    yield from _section("Not kept", (_field(part, why) for part, why in record.notes.items()))


def _section(title: str, body: Iterable[str]) -> Iterator[str]:
    found = list(body)
    if found:
        yield ""
        yield bold(title)
        yield from found


def _field(label: str, value: object) -> str:
    room = safe(label)[:40].ljust(_LABEL)
    return f"{_INDENT}{dim(room)}  {one_line(clip(str(value), _LONGEST))}"


def _fields(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    return (_field(label, value) for label, value in pairs if value not in (None, "", ()))


def _timeline(record: TaskRecord) -> Iterator[str]:
    for step in timeline_of(record):
        after = "" if step.after is None else f"+{span(step.after.total_seconds())}"
        state = f": {step.state}" if step.state else ""
        yield f"{_INDENT}{local_exactly(step.at)}  {after:>12}  {one_line(step.text + state)}"


def _schedule(schedule: Schedule) -> Iterator[str]:
    claimed = schedule.date_claimed
    return _fields(
        (
            ("due", local_exactly(schedule.due)),
            ("since", local_exactly(schedule.date_scheduled)),
            ("claimed", local_exactly(claimed) if claimed else None),
            ("outbox", "yes" if schedule.is_in_outbox else None),
            ("problem", schedule.problem),
            ("to be sent as", schedule.new_task_id),
            ("queue", schedule.queue),
            ("namespace", schedule.namespace),
        )
    )


def _runs(record: TaskRecord) -> Iterator[str]:
    for run in record.executions:
        yield from _run(run)
    if record.exception_type and not any(run.exception_type for run in record.executions):
        yield from _exception(record)


def _run(run: Execution) -> Iterator[str]:
    took = ""
    if run.date_started and run.date_done:
        took = f" after {span((run.date_done - run.date_started).total_seconds())}"
    state = in_colour(run.state, safe(run.state))
    yield f"{_INDENT}attempt {run.retries + 1}: {state}{took} on {one_line(run.worker or '?')}"
    yield from _exception(run)


def _exception(run: Execution | TaskRecord) -> Iterator[str]:
    if run.exception_type:
        message = clip(run.exception_message or "", _LONGEST)
        yield from _quoted(f"{run.exception_type}: {message}".removesuffix(": "))
    if run.traceback:
        yield f"{_BAR}".rstrip()
        yield from _quoted(clip(run.traceback.rstrip("\n"), _LONGEST_TRACEBACK))


def _quoted(text: str) -> Iterator[str]:
    return (f"{dim(_BAR)}{line}".rstrip() for line in lines(text))


def _arguments(record: TaskRecord) -> Iterator[str]:
    shown_as = {"args": record.argsrepr, "kwargs": record.kwargsrepr}
    for part, value in record.arguments._asdict().items():
        shown = shown_as[part]
        if value is not None:
            yield from _value(part, value)
        elif shown:
            yield f"{_INDENT}{dim(f'{part}, as the publisher wrote them')}"
            yield from _quoted(clip(shown, _LONGEST))


def _result(record: TaskRecord) -> Iterator[str]:
    if record.result_form in ("repr", "cut"):
        yield f"{_INDENT}{dim('its repr' if record.result_form == 'repr' else 'cut')}"
        yield from _quoted(clip(str(record.result), _LONGEST))
    elif record.result_form:
        yield from _value("returned", record.result)


def _value(label: str, value: Any) -> Iterator[str]:
    """On the label's line if it is short, else on lines of its own."""
    if len(text := _json(value)) <= _SHORT:
        yield _field(label, text)
    else:
        yield f"{_INDENT}{dim(label)}"
        yield from _quoted(clip(_json(value, indent=2), _LONGEST))


def _json(value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(plain(value), indent=indent, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        return f"cannot be shown: {error}"


def _identity(record: TaskRecord, again: Sequence[TaskRecord]) -> Iterator[str]:
    return _fields(
        (
            ("id", record.task_id),
            ("name", record.name),
            ("root", record.root_id),
            ("parent", record.parent_id),
            ("group", record.group_id),
            ("failures", record.fingerprint),
            ("re-send of", record.retry_of),
            *(("sent again as", f"{other.task_id}  {other.state}") for other in again),
            *(("child", child) for child in record.children[:_CHILDREN]),
            ("more children", _more_children(record)),
            *((f"stamp {name}"[:_LABEL], value) for name, value in record.stamps.items()),
        )
    )


def _more_children(record: TaskRecord) -> int | None:
    more = max(len(record.children) - _CHILDREN, 0) + record.children_left_out
    return more or None


def _routing(record: TaskRecord) -> Iterator[str]:
    message = record.message
    return _fields(
        (
            ("queue", record.queue),
            ("exchange", record.exchange),
            ("routing key", record.routing_key),
            ("priority", record.priority),
            ("worker", record.worker),
            ("publisher", record.origin),
            ("content", message.content_type if message else None),
            ("eta", record.eta),
            ("expires", record.expires),
        )
    )


def _mapping(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is None or value in ([], {}):
            continue
        yield _field(name, value if isinstance(value, str) else _json(value))

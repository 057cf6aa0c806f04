"""The schedules that a replay has in the storage: held when it stops, moved when it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from fullresult.record import REVOKED, TaskQuery, pages
from fullresult.record.replay import Replay, Replayed
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.recording.outcomes import is_grouped
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage.replays import NOT_YET, ReplayStorage

AHEAD = timedelta(seconds=2)
"""How far ahead of their time tasks are taken: what is stored, goes on though its replay stops."""
MOST = 500
"""Tasks that are taken at once."""
_HELD = datetime(9000, 1, 1, tzinfo=timezone.utc)
"""Schedules of replays that are paused are due then."""
_PORTION = 500
_WINDOW = 5_000
"""Of what it took last, more than can be unsent: two seconds at the greatest rate, and what is
late. What is before those and unsent was put back by a person, or its sweeper."""


def pages_of(
    storage: ReplayStorage, replay_id: str, before: int | None = None
) -> Iterator[list[Replayed]]:
    """What a replay took, the last first, some at a time; with *before*, before that position."""
    while page := storage.find_replayed(replay_id, before=before, limit=_PORTION):
        yield page
        before = page[-1].position


def _last(
    storage: ReplayStorage, replay: Replay, *, to_the_first: bool = False
) -> Iterator[list[Replayed]]:
    """The pages among which all is that was taken and is not sent; or all, *to_the_first*."""
    for page in pages_of(storage, replay.replay_id):
        yield page
        if page[-1].position < replay.taken - _WINDOW and not to_the_first:
            return


def unsent(storage: ReplayStorage, some: Sequence[Replayed]) -> list[Schedule]:
    """The schedules of *some* tasks that no sweeper has claimed, the first due first."""
    ids = [each.schedule_id for each in some]
    return storage.find_schedules(ScheduleQuery(schedule_ids=ids, claimed=False, limit=None))


def hold(storage: ReplayStorage, events: ScheduleEvents, replay: Replay) -> int:
    """Have nothing be due that was taken and not sent yet. Returns how many were held."""
    held = 0
    for page in _last(storage, replay):
        for schedule in unsent(storage, page):
            if schedule.due < _HELD:
                event = events.moved(schedule, _HELD)
                held += storage.reschedule(schedule.schedule_id, _HELD, event)
    return held


def let_go(
    storage: ReplayStorage, events: ScheduleEvents, replay: Replay, *, to_the_first: bool = False
) -> tuple[datetime, int]:
    """Have what was held, or never came to be due, be due at the replay's rate.

    Returns when the next one may be due, and the position of the first that was held, or of the
    next one.
    """
    held: list[Schedule] = []
    first = replay.taken
    for page in _last(storage, replay, to_the_first=to_the_first):
        some = [each for each in unsent(storage, page) if each.due >= NOT_YET]
        held = [*some, *held]
        if ids := {schedule.task_id for schedule in some}:
            first = min(each.position for each in page if each.new_id in ids)
    due, step = storage.now(), timedelta(seconds=1 / replay.rate)
    for schedule in held:
        storage.reschedule(schedule.schedule_id, due, events.moved(schedule, due))
        due += step
    return due, first


def cancel(
    storage: ReplayStorage, events: ScheduleEvents, replay: Replay, due: datetime | None = None
) -> list[Schedule]:
    """Cancel what was taken and not sent; another replay may take it. Returns what it was.

    With *due*, only what is due then.
    """
    cancelled: list[Schedule] = []
    for page in pages_of(storage, replay.replay_id):
        cancelled += cancel_some(storage, events, replay, page, due)
    return cancelled


def cancel_some(
    storage: ReplayStorage,
    events: ScheduleEvents,
    replay: Replay,
    some: Sequence[Replayed],
    due: datetime | None = None,
) -> list[Schedule]:
    """The same with *some* of what it took."""
    gone = [
        schedule
        for schedule in unsent(storage, some)
        if due in (None, schedule.due)
        and storage.cancel(schedule.schedule_id, events.ended(schedule, "revoked"))
    ]
    ids = {schedule.task_id for schedule in gone}
    if due is None:
        # Who did that before may have been cut off, and have given up none of it.
        ids |= _revoked(storage, [each.new_id for each in some if each.new_id not in ids])
    give_up(storage, replay.replay_id, [each for each in some if each.new_id in ids])
    return gone


def _revoked(storage: ReplayStorage, ids: Sequence[str]) -> set[str]:
    """Those that somebody cancelled or revoked before they ran."""
    found = storage.find(TaskQuery(task_ids=ids, state=REVOKED, limit=None)) if ids else []
    return {
        record.task_id
        for record in found
        if record.start is None and not is_grouped(record.state, record.exception_message)
    }


def give_up(storage: ReplayStorage, replay_id: str, some: Sequence[Replayed]) -> None:
    """Let others send these tasks: what the replay sent or stored for them is not to run."""
    for begin in range(0, len(some), _PORTION):
        portion = {each.task_id: each.new_id for each in some[begin : begin + _PORTION]}
        storage.give_up_replayed(replay_id, portion)
        _take_back(storage, portion)


def _take_back(storage: ReplayStorage, new_ids: Mapping[str, str]) -> None:
    """Have these records not say that their tasks were sent again under *new_ids*.

    Nor may they come to say so: who took them may not have marked them yet. One that somebody sent
    again since under another id is still dealt with.
    """
    now = storage.now()
    records = storage.find(TaskQuery(task_ids=[*new_ids], limit=None))
    events = [
        record.sent_again(None, now)
        for record in records
        if record.resent_as in (None, new_ids[record.task_id])
    ]
    if marks := [event for event in events if event is not None]:
        storage.write(marks)


def left_behind(storage: ReplayStorage, replay: Replay) -> bool:
    """True if something of some replay is not due yet.

    It is about to be; or who took it died, or stood still, and the filter does not find it again:
    that may be long ago.
    """
    before = pages.cursor(NOT_YET - timedelta(milliseconds=1), "")
    asked = ScheduleQuery(namespace=replay.namespace, claimed=False, after=before, limit=1)
    return any(schedule.due < _HELD for schedule in storage.find_schedules(asked))


def waits(storage: ReplayStorage, replay: Replay, *, to_the_first: bool) -> bool:
    """True if something that it took is not sent yet."""
    return any(unsent(storage, page) for page in _last(storage, replay, to_the_first=to_the_first))


def holds(storage: ReplayStorage, replay: Replay, *, to_the_first: bool) -> bool:
    """True if something that it took is held, or not due yet."""
    return any(
        schedule.due >= NOT_YET
        for page in _last(storage, replay, to_the_first=to_the_first)
        for schedule in unsent(storage, page)
    )


def is_late(storage: ReplayStorage, replay: Replay) -> bool:
    """True if more than it takes ahead should be sent by now: the broker is away, or slow."""
    ids = [each.schedule_id for each in storage.find_replayed(replay.replay_id, limit=_PORTION)]
    due = storage.now() - AHEAD
    late = ScheduleQuery(schedule_ids=ids, claimed=False, due_until=due)
    most = min(1 + replay.rate * AHEAD.total_seconds(), _PORTION / 2)
    return len(ids) > most and storage.count_schedules(late) > most

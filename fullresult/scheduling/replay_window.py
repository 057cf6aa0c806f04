"""The schedules that a replay has in the storage: held when it stops, moved when it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from fullresult.record import TaskQuery, pages
from fullresult.record.replay import Replay, Replayed
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.scheduling import taken_back
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage.replays import NOT_YET, ReplayStorage

AHEAD = timedelta(seconds=2)
"""How far ahead of their time tasks are taken: what is stored, goes on though its replay stops."""
MOST = 500
"""Tasks that are taken at once."""
_HELD = datetime(9000, 1, 1, tzinfo=timezone.utc)
"""Schedules of replays that are paused are due then."""
_PORTION = 500
_MOST_STRAYS = 10
"""Portions of what is not due yet that are looked at for what is a replay's own."""
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


def _last(storage: ReplayStorage, replay: Replay) -> Iterator[list[Replayed]]:
    """The pages among which all is that was taken and is not sent, but for strays."""
    for page in pages_of(storage, replay.replay_id):
        yield page
        if page[-1].position < replay.taken - _WINDOW:
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
    storage: ReplayStorage,
    events: ScheduleEvents,
    replay: Replay,
    strays: Sequence[Schedule] = (),
) -> tuple[datetime, int]:
    """Have what was held, or never came to be due, be due at the replay's rate: *strays* first.

    Returns when the next one may be due, and the position of the first that was held, or of the
    next one.
    """
    held: list[Schedule] = []
    first = replay.taken
    known = {each.schedule_id for each in strays}
    for page in _last(storage, replay):
        waiting = (each for each in unsent(storage, page) if each.due >= NOT_YET)
        some = [each for each in waiting if each.schedule_id not in known]
        held = [*some, *held]
        if ids := {schedule.task_id for schedule in some}:
            first = min(each.position for each in page if each.new_id in ids)
    due, step = storage.now(), timedelta(seconds=1 / replay.rate)
    for schedule in (*strays, *held):
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
        cancelled += cancel_some(storage, events, page, due)
    return cancelled


def cancel_some(
    storage: ReplayStorage,
    events: ScheduleEvents,
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
        others = [each.new_id for each in some if each.new_id not in ids]
        ids |= taken_back.never_ran(storage, others)
    give_up(storage, [each for each in some if each.new_id in ids])
    return gone


def give_up(storage: ReplayStorage, some: Sequence[Replayed]) -> None:
    """Let others send these tasks: what a replay sent or stored for them is not to run."""
    for begin in range(0, len(some), _PORTION):
        new_ids = {each.task_id: each.new_id for each in some[begin : begin + _PORTION]}
        taken_back.give_up(storage, new_ids)
        olds = storage.find(TaskQuery(task_ids=[*new_ids], limit=None))
        if marks := taken_back.marks_of(storage, olds, new_ids, storage.now()):
            storage.write(marks)


def strays_of(storage: ReplayStorage, replay: Replay) -> list[Schedule]:
    """What it took, however long ago, that is not due yet, the first 500.

    It is about to be; or who took it died, or stood still, and the filter does not find it again.
    Of other replays, some may be left for ever, as of one that was cancelled: few are looked at.
    """
    found: list[Schedule] = []
    after = pages.cursor(NOT_YET - timedelta(milliseconds=1), "")
    for _ in range(_MOST_STRAYS):
        asked = ScheduleQuery(
            namespace=replay.namespace, claimed=False, after=after, limit=_PORTION
        )
        page = storage.find_schedules(asked)
        some = [each for each in page if each.due < _HELD]
        found += _own(storage, replay, some)
        if found or len(some) < _PORTION:
            break
        after = some[-1].cursor
    return found


def _own(storage: ReplayStorage, replay: Replay, some: Sequence[Schedule]) -> list[Schedule]:
    ids = [each.task_id for each in some]
    records = storage.find(TaskQuery(task_ids=ids, limit=None)) if ids else []
    own = {
        record.task_id
        for record in records
        if record.retry_of is not None and replay.new_id(record.retry_of) == record.task_id
    }
    return [each for each in some if each.task_id in own]


def waits(storage: ReplayStorage, replay: Replay) -> bool:
    """True if something that it took is not sent yet."""
    return any(unsent(storage, page) for page in _last(storage, replay))


def holds(storage: ReplayStorage, replay: Replay) -> bool:
    """True if something that it took is held, or not due yet."""
    return any(
        schedule.due >= NOT_YET
        for page in _last(storage, replay)
        for schedule in unsent(storage, page)
    )


def is_late(storage: ReplayStorage, replay: Replay) -> bool:
    """True if more than it takes ahead should be sent by now: the broker is away, or slow."""
    ids = [each.schedule_id for each in storage.find_replayed(replay.replay_id, limit=_PORTION)]
    due = storage.now() - AHEAD
    late = ScheduleQuery(schedule_ids=ids, claimed=False, due_until=due)
    most = min(1 + replay.rate * AHEAD.total_seconds(), _PORTION / 2)
    return len(ids) > most and storage.count_schedules(late) > most

"""The records of a workflow, and what keeps it from going on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from fullresult.insight.surgery.signatures import options_of, steps_of
from fullresult.insight.surgery.turns import workflow_of
from fullresult.record import (
    FINISHED,
    IGNORED,
    NOT_RUN,
    SUCCESS,
    UNSENT,
    TaskQuery,
    TaskRecord,
    encoding,
)
from fullresult.storage import Storage

_AGAIN = 50
"""Re-sends of one task that are looked at, the newest first."""
_DEEPEST = 100
"""Re-sends of re-sends."""
_PAGE = 500
_LOOKED = 2_000
"""Records that failed and are looked at for one whose workflow is looked for."""

Later = Iterable[tuple[str, str, int]]
"""(id, name, depth) of each task."""


class Refused(Exception):
    """The operation cannot be done, and what can."""

    def __init__(self, problem: str, instead: str | None = None) -> None:
        super().__init__(problem)
        self.instead = instead


class Records:
    """Reads one storage. Every method raises `StorageError`, and those that check `Refused`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def get(self, task_id: str) -> TaskRecord | None:
        return self.storage.get(encoding.key(task_id))

    def first_missing(self, task_ids: Sequence[str]) -> str | None:
        """The first of these tasks that has no record; None if all have one."""
        for begin in range(0, len(task_ids), _PAGE):
            keys = {encoding.key(task_id): task_id for task_id in task_ids[begin : begin + _PAGE]}
            found = self.storage.find(TaskQuery(task_ids=tuple(keys), limit=_PAGE))
            known = {record.task_id for record in found}
            for key, task_id in keys.items():
                if key not in known:
                    return task_id
        return None

    def in_group(self, group_id: str, most: int) -> list[TaskRecord]:
        query = TaskQuery(group_id=encoding.key(group_id), order="oldest", limit=most)
        return self.storage.find(query)

    def resends(self, task_id: str) -> list[TaskRecord]:
        """The tasks that were sent instead of this one, the newest first."""
        query = TaskQuery(retry_of=encoding.key(task_id), order="newest", limit=_AGAIN)
        return self.storage.find(query)

    def unsuccessful(self, since: datetime | None = None) -> Iterator[list[TaskRecord]]:
        """Some of the tasks that have not succeeded, the newest first."""
        query = TaskQuery(not_state=(SUCCESS,), since=since, limit=_PAGE)
        for _ in range(_LOOKED // _PAGE):
            page = self.storage.find(query)
            yield page
            if len(page) < _PAGE:
                return
            query = replace(query, after=page[-1].cursor)

    def standing(self, record: TaskRecord, _above: frozenset[str] = frozenset()) -> TaskRecord:
        """The record that tells how the chain that *record* is a step of stands, or the task.

        That is the last step that was sent, and of one that failed, what was sent instead: one that
        succeeded, else one that has not ended, else the newest.
        """
        if record.task_id in _above or len(_above) > _DEEPEST:
            raise Refused(f"task {record.task_id} was sent again as itself, or too often to follow")
        above = _above | {record.task_id}
        later = self._last_sent(record)
        if later is not None:
            return self.standing(later, above)
        if record.state == SUCCESS:
            return record
        found = [self.standing(again, above) for again in self.resends(record.task_id)]
        succeeded = [each for each in found if each.state == SUCCESS]
        if not succeeded:
            self._check_resent_is_known(record)
        going_on = [each for each in found if not is_over(each)]
        return next(iter([*succeeded, *going_on, *found]), record)

    def oldest(self, record: TaskRecord) -> TaskRecord:
        """The first task in place of which *record* was sent, if both are of one workflow.

        From there all that was sent in its place is seen, and not only what came after *record*.
        """
        for _ in range(_DEEPEST):
            before = self.get(record.retry_of) if record.retry_of else None
            if before is None or not _is_of_one(before, record):
                return record
            record = before
        raise Refused(f"task {record.task_id} was sent again too often to follow")

    def _last_sent(self, record: TaskRecord) -> TaskRecord | None:
        for step in reversed(steps_of(record)):
            task_id = options_of(step).get("task_id")
            found = self.get(str(task_id)) if task_id else None
            if found is not None and found.task_id != record.task_id and _was_sent(found):
                return found
        return None

    # ---- what keeps it from going on

    def check_failed(self, record: TaskRecord) -> None:
        if record.state == NOT_RUN:
            stopped_by = stopper_of(record)
            instead = f"resume {stopped_by}" if stopped_by else None
            raise Refused(f"task {record.task_id} never ran: another one failed", instead)
        if not is_over(record):
            raise Refused(f"task {record.task_id} is {record.state}: it has not ended")
        if record.state == IGNORED and record.children:
            # Its record is IGNORED while the chain or chord that replaced it is at work.
            raise Refused(
                f"task {record.task_id} is IGNORED, and published {record.children[0]}: it may "
                "have replaced itself, and go on as that"
            )

    def check_not_again(self, record: TaskRecord) -> None:
        """That what was sent in place of *record*, or before it, has failed."""
        oldest = self.oldest(record)
        again = self.standing(oldest)
        if again.state == SUCCESS or not is_over(again):
            is_later = again.task_id != oldest.task_id and again.retry_of is None  # in its chain
            how = "and the workflow went on to" if is_later else "as"
            raise Refused(
                f"task {oldest.task_id} was sent again {how} {again.task_id}, which is "
                f"{again.state}",
                f"fork {record.task_id}",
            )
        self._check_resent_is_known(record)

    def _check_resent_is_known(self, record: TaskRecord) -> None:
        """A re-send may have succeeded before its record was deleted."""
        again = record.resent_as
        if again is not None and self.storage.get(again) is None:
            raise Refused(
                f"task {record.task_id} was sent again as {again}, which is not recorded",
                f"fork {record.task_id}",
            )

    def check_never_ran(self, tasks: Later, task_id: str) -> None:
        for later, name, _ in tasks:
            found = self.get(later)
            if found is not None and _was_sent(found):
                raise Refused(
                    f"{name} ({later}), which comes later, was sent already: it is {found.state}",
                    f"fork {task_id}",
                )


def stopper_of(record: TaskRecord) -> str | None:
    """The id of the task because of which this one never ran, as its notes tell."""
    if record.state != NOT_RUN:
        return None
    return record.notes.get("args", "").partition("task ")[2].partition(" ")[0] or None


def is_over(record: TaskRecord) -> bool:
    return record.state in FINISHED or record.state == UNSENT


def _was_sent(record: TaskRecord) -> bool:
    """False for the end that a result backend was told of a task that never ran.

    What waits for its ETA in the storage was sent, though not to the broker.
    """
    if record.state in (NOT_RUN, UNSENT):
        return False
    if record.state not in FINISHED:
        return True
    return bool(record.executions) or record.date_published is not None


def _is_of_one(before: TaskRecord, record: TaskRecord) -> bool:
    """True if *record* was sent in place of *before*, in one workflow."""
    first, second = (workflow_of(each, "resume").task_id for each in (before, record))
    if second != encoding.key(record.task_id):
        return first == second
    # Nothing comes after it. What was sent again though it had succeeded is another matter.
    return first == encoding.key(before.task_id) and before.state != SUCCESS

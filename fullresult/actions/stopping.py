"""Stopping tasks that were sent: revoked before they run, or ended while they do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from fullresult.actions import told_workers
from fullresult.actions.audit import Trail
from fullresult.actions.batch import AT_ONCE, Pace, Report, do_each, unknown
from fullresult.actions.errors import NotDone
from fullresult.actions.take_back import take_back
from fullresult.actions.told_workers import BrokerError, ToldWorkers, names_of
from fullresult.insight.overdue import schedules_of
from fullresult.record import (
    FINISHED,
    SCHEDULED_SENT,
    STARTED,
    UNSENT,
    ScheduleQuery,
    TaskQuery,
    encoding,
)
from fullresult.storage import ScheduleStorage, StorageError

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.actions.audit import Actor
    from fullresult.config import Settings
    from fullresult.record import TaskRecord
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

Signal = Literal["SIGTERM", "SIGKILL", "SIGINT"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
POOLS = ("prefork", "eventlet", "gevent")
"""Those that can end one task. Celery's others cannot, nor can gevent's before Celery 5.5."""
_AT_ONCE = 100
"""Tasks that are revoked by one message to the workers."""


class CannotStop(NotDone):
    """The task was not stopped; the message says why."""


class Stopping:
    """Stops tasks by Celery's remote control, for one actor; all of it is in the audit log.

    Every method raises `StorageError`.
    """

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, recorder: Recorder, actor: Actor
    ) -> None:
        self._workers = ToldWorkers(app, settings, storage)
        self._storage = storage
        self._recorder = recorder
        self._actor = actor

    def revoke(self, ids: Iterable[str], pace: Pace = AT_ONCE) -> Report:
        """Have every living worker drop these tasks when they come to them.

        One that a worker runs, that has ended, or that waits in the storage, stays as it is. It is
        done if all living workers have confirmed it. They remember it until they end; a worker
        that starts later runs the task, unless it has a `--statedb`.
        """
        chosen = list(dict.fromkeys(ids))
        answers: dict[str, NotDone | None] = {}
        until = None if pace.patience is None else time.monotonic() + pace.patience

        def in_portions() -> Iterator[tuple[str, str]]:
            for at in range(0, len(chosen), _AT_ONCE):
                # Not within a portion: its tasks are told, and must all be written down.
                if at and until is not None and time.monotonic() > until:
                    return
                some = chosen[at : at + _AT_ONCE]
                answers.update(self._revoke_some(some))
                yield from ((each, each) for each in some)

        def of_id(task_id: str) -> None:
            if (why_not := answers[task_id]) is not None:
                raise why_not

        trail = Trail(self._storage, self._recorder.redactor, self._actor, "revoke", {})
        report = do_each(in_portions(), of_id, trail, replace(pace, patience=None))
        report.unfinished = bool(report.left(chosen))
        return report

    def terminate(
        self, ids: Iterable[str], signal: Signal = "SIGTERM", pace: Pace = AT_ONCE
    ) -> Report:
        """Have the workers that run these tasks end the processes in which they run.

        What a task has begun to do is half done. Raises `ValueError` for another *signal*.
        """
        if signal not in SIGNALS:
            raise ValueError(f"signal must be one of {', '.join(SIGNALS)}, not {signal!r}")

        def of_id(task_id: str) -> None:
            record = self._storage.get(encoding.key(task_id))
            if record is None:
                raise CannotStop(unknown(task_id))
            self._terminate(record, signal)

        asked = {"signal": signal}
        trail = Trail(self._storage, self._recorder.redactor, self._actor, "terminate", asked)
        return do_each(((each, each) for each in dict.fromkeys(ids)), of_id, trail, pace)

    def why_not(self, record: TaskRecord, action: Literal["revoke", "terminate"]) -> str | None:
        """The reason why it cannot be stopped in this way; None if that can be tried."""
        try:
            if action == "terminate":
                self._ended_by(record)
            else:
                waits = bool(schedules_of(self._storage, record.task_id))
                _check(record.task_id, record, waits, self._workers.names())
        except CannotStop as error:
            return str(error)
        return None

    def _revoke_some(self, ids: list[str]) -> dict[str, NotDone | None]:
        """Revoke a portion; of each id the reason why it is not done. The storage is asked once."""
        keys = [*map(encoding.key, ids)]
        found = self._storage.find(TaskQuery(task_ids=keys, limit=None))
        records, waiting = {each.task_id: each for each in found}, self._waiting(keys)
        workers = self._workers.names()
        answers: dict[str, NotDone | None] = {}
        for task_id, key in zip(ids, keys, strict=True):
            try:
                _check(task_id, records.get(key), key in waiting, workers)
                answers[task_id] = None
            except CannotStop as error:
                answers[task_id] = error
        told = [task_id for task_id in ids if answers[task_id] is None]
        answers |= self._tell(told, workers) if told else {}
        for task_id, key in zip(ids, keys, strict=True):
            if answers[task_id] is None and records[key].retry_of is not None:
                answers[task_id] = self._take_back(key)
        return answers

    def _take_back(self, task_id: str) -> NotDone | None:
        try:
            take_back(self._storage, self._recorder, task_id)
        except StorageError as error:
            return NotDone(
                f"task {task_id} is revoked, but what it was sent for still counts as dealt with: "
                f"{encoding.safe_str(error)}"
            )
        return None

    def _waiting(self, ids: list[str]) -> set[str]:
        """Those of which a schedule waits in the storage."""
        if not isinstance(self._storage, ScheduleStorage):
            return set()
        query = ScheduleQuery(task_ids=ids, limit=None)
        return {each.task_id for each in self._storage.find_schedules(query)}

    def _tell(self, ids: list[str], workers: list[str]) -> dict[str, NotDone | None]:
        try:
            silent, broken = self._workers.revoke(ids, workers)
        except BrokerError as error:
            return {each: _of_broker(each, error) for each in ids}
        if not silent:
            return dict.fromkeys(ids)
        others = len(workers) - len(silent)
        why = (
            f"may still run: {names_of(silent)} did not confirm within {told_workers.WAIT:g} s"
            f"{broken}; the other {others} will drop it"
        )
        return {each: CannotStop(f"task {each} {why}") for each in ids}

    def _terminate(self, record: TaskRecord, signal: Signal) -> None:
        worker = self._ended_by(record)
        try:
            answers = self._workers.ask(
                [record.task_id], [worker], 1, terminate=True, signal=signal
            )
        except BrokerError as error:
            raise _of_broker(record.task_id, error) from error
        answer = answers.get(worker)
        if answer is None:
            raise CannotStop(
                f"task {record.task_id}: {worker} did not answer within {told_workers.WAIT:g} s"
            )
        if "ok" not in answer:
            said = encoding.clip(encoding.safe_str(answer.get("error", answer)), 300)
            raise CannotStop(f"task {record.task_id}: {worker} cannot end it: {said}")
        if record.task_id not in str(answer["ok"]):
            raise CannotStop(
                f"task {record.task_id}: {worker} does not run it any more; it drops it if it is "
                "to run it again"
            )

    def _ended_by(self, record: TaskRecord) -> str:
        """The worker that runs it, and can end it."""
        task = f"task {record.task_id}"
        if record.state != STARTED or record.worker is None:
            raise CannotStop(f"{task} does not run: it is {record.state}")
        found = [life for life in self._workers.alive() if life.worker.name == record.worker]
        if not found:
            raise CannotStop(f"{task}: its worker {record.worker} is gone; see orphans")
        pool = found[0].card.pool if found[0].card else ""
        if pool and pool not in POOLS:
            raise CannotStop(
                f"{task}: {record.worker} has the pool {pool}, which cannot end one task; those "
                f"that can are {', '.join(POOLS)}"
            )
        return record.worker


def _check(task_id: str, record: TaskRecord | None, waits: bool, workers: list[str]) -> None:
    """Raises `CannotStop` if *workers* cannot drop it."""
    if record is None:
        raise CannotStop(unknown(task_id))
    task = f"task {record.task_id}"
    if record.state in FINISHED:
        raise CannotStop(f"{task} has ended: it is {record.state}")
    if record.state == STARTED:
        raise CannotStop(f"{task} runs on {record.worker}; terminate ends it")
    if record.state == SCHEDULED_SENT and _has_another_id(record):
        raise CannotStop(f"{task} was sent under another id; revoke that one")
    if waits:
        raise CannotStop(f"{task} waits in the storage, and no worker has it; cancel it")
    if record.state == UNSENT:
        raise CannotStop(f"{task} was never sent: the broker refused it")
    if not workers:
        raise CannotStop(
            f"{task}: no worker is alive that could be told, and one that starts later would run it"
        )


def _has_another_id(record: TaskRecord) -> bool:
    return '"new_task_id"' in ((record.outcome and record.outcome.result) or "")


def _of_broker(task_id: str, error: BrokerError) -> NotDone:
    refused = NotDone(f"task {task_id}: the broker did not take it: {error}")
    refused.__cause__ = error
    return refused

"""Pausing a queue: kept in the storage, told to the workers that live, and in the audit log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import Trail
from fullresult.insight.live import PAUSING
from fullresult.insight.pauses import pauses_now
from fullresult.insight.queues import known_queues
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import span
from fullresult.record import Pause, encoding
from fullresult.storage import PauseStorage, StorageError

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.actions.audit import Actor
    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

_WAIT = 1.0
"""Seconds in which workers answer."""
_CONNECTS = 2.0
LONGEST_REASON = 500
"""Characters of a reason that are kept."""
_SHOWN = 5


class CannotPause(ValueError):
    """The queue cannot be paused or resumed; the message says why."""


@dataclass(frozen=True)
class Told:
    """What became of the message to the workers. Who does not hear it asks the storage later."""

    strangers: tuple[str, ...]
    """The workers that answered and do not follow pauses: they lack `FullResult`."""
    problem: str | None
    """Why the broker did not take the message."""
    asks_within: float | None
    """Seconds within which each worker asks the storage; None: `fullresult_heartbeat` is 0."""


class Pausing:
    """Pauses and resumes queues for one actor. Each is in the audit log, also if it failed."""

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, recorder: Recorder, actor: Actor
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._actor = actor

    def pause(self, queue: str, reason: str = "", lasts: timedelta | None = None) -> Told:
        """Have no worker of this app's broker take tasks from *queue*, until it is resumed.

        With *lasts*, the pause is over then by itself. A pause of a queue that is paused replaces
        the first. Tasks that a worker has taken run all the same. Raises `CannotPause` for a queue
        that is not known, or a *lasts* of 0 or less; `StorageError`.
        """
        asked = {"queue": queue, "reason": reason, "for": lasts and span(lasts.total_seconds())}
        trail = self._trail("pause-queue", {name: each for name, each in asked.items() if each})
        try:
            storage, now = self._keeps(), self._storage.now()
            self._check_known(queue, now)
            if lasts is not None and lasts <= timedelta(0):
                raise CannotPause(f"a pause must last some time, not {lasts}")
            until = None if lasts is None else now + lasts
            actor, why = encoding.key(self._actor.name), encoding.clip(reason, LONGEST_REASON)
            storage.keep_pause(
                Pause(self._settings.namespace, queue, now, until, actor, encoding.key(why))
            )
        except Exception as error:
            trail.write_problem((), error)
            raise
        told = self._tell(queue, paused=True)
        trail.write((), _as_told(told))
        return told

    def resume(self, queue: str) -> Told:
        """End the pause of *queue*: workers consume it again that had stopped for it.

        Raises `CannotPause` if it is not paused; `StorageError`.
        """
        trail = self._trail("resume-queue", {"queue": queue})
        try:
            storage, now = self._keeps(), self._storage.now()
            paused = pauses_now(self._storage, self._settings, now)
            if not storage.end_pause(self._settings.namespace, queue) or queue not in paused:
                raise CannotPause(_not_paused(queue, [*paused]))
        except Exception as error:
            trail.write_problem((), error)
            raise
        told = self._tell(queue, paused=False)
        trail.write((), _as_told(told))
        return told

    def _keeps(self) -> PauseStorage:
        if not isinstance(self._storage, PauseStorage):
            raise StorageError("this storage does not keep which queues are paused")
        return self._storage

    def _check_known(self, queue: str, now: datetime) -> None:
        known = known_queues(self._storage, self._settings, now)
        configured = {str(name) for name in self._app.amqp.queues}
        if queue not in known | configured:
            raise CannotPause(
                f"no queue {one_line(queue)[:200]!r} is known: no living worker consumes it, no "
                f"task waits in it, and it is not configured{_near(queue, known | configured)}"
            )

    def _tell(self, queue: str, *, paused: bool) -> Told:
        """Tell the workers: those that follow pauses, and by Celery's own command the others."""
        answers: dict[str, Any] = {}
        problem = None
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECTS)
                # Theirs first: those who follow know then that it was not cancelled by hand.
                replies = self._app.control.broadcast(
                    PAUSING,
                    arguments={"queue": queue, "paused": paused},
                    connection=connection,
                    reply=True,
                    timeout=_WAIT,
                )
                if paused:
                    self._app.control.cancel_consumer(queue, connection=connection)
        except Exception as error:  # noqa: BLE001  (whatever a broker's client raises)
            problem = encoding.clip(encoding.safe_str(error), 300)
        else:
            for reply in replies or ():
                answers.update(reply if isinstance(reply, Mapping) else {})
        strangers = [str(name) for name, answer in answers.items() if not _follows(answer)]
        return Told(tuple(sorted(strangers)), problem, self._asks_within())

    def _asks_within(self) -> float | None:
        every = self._settings.heartbeat
        return every.total_seconds() if every > timedelta(0) else None

    def _trail(self, action: str, details: Mapping[str, Any]) -> Trail:
        return Trail(self._storage, self._recorder.redactor, self._actor, action, details)


def _follows(answer: object) -> bool:
    return isinstance(answer, Mapping) and answer.get("follows") is True


def _as_told(told: Told) -> dict[str, Any]:
    known = {"not_told": told.problem, "strangers": list(told.strangers)[:_SHOWN]}
    return {name: each for name, each in known.items() if each}


def _not_paused(queue: str, paused: Collection[str]) -> str:
    near = get_close_matches(queue, paused, 1)
    hint = f"; did you mean {one_line(near[0])}?" if near else ""
    return f"queue {one_line(queue)[:200]!r} is not paused{hint}"


def _near(queue: str, known: Collection[str]) -> str:
    near = get_close_matches(queue, known, 3, 0.5)
    if near:
        return f"; did you mean {' or '.join(map(one_line, near))}?"
    shown = ", ".join(map(one_line, sorted(known)[:_SHOWN]))
    return f"; known: {shown}" if known else ""


def after(told: Told, *, paused: bool) -> list[str]:
    """Sentences about what the workers will do, for whoever asked."""
    found = []
    if told.problem is not None:
        found.append(f"The workers could not be told: {told.problem}.")
    if told.asks_within is not None:
        found.append(
            f"A worker that did not hear it asks the storage within {told.asks_within:g} s, and "
            "as it starts."
        )
    else:
        found.append("With fullresult_heartbeat = 0 no worker follows it.")
    if told.strangers:
        names = ", ".join(map(one_line, told.strangers[:_SHOWN]))
        found.append(
            f"Without FullResult: {names}; they were told to cancel it, and would consume it again "
            "when they start anew."
            if paused
            else f"Without FullResult: {names}; have them consume it by `celery control "
            "add_consumer QUEUE --destination NAME`, if they did before."
        )
    if paused:
        found.append("Tasks that a worker has taken run all the same.")
    return found

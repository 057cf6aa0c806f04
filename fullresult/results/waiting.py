"""Waiting for results: however many wait in a process, one thread asks the storage for them all."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from celery.states import READY_STATES

from fullresult.record import TaskRecord
from fullresult.results.meta import goes_on_as, state_of
from fullresult.storage import ResultStorage, StorageError, notice_fork, watch_forks
from fullresult.storage.threads import begin

_SOONEST = 0.002
_LATEST = 0.5
_LATENESS = 0.01
"""A result is noticed late by at most this fraction of the time already waited for it."""
_DUTY = 6
"""Asking takes at most 1/6 of the time."""
_IDLE = 5.0
"""Seconds that the thread stays after its last caller."""


class Ticket:
    """The tasks that one caller waits for."""

    def __init__(self, task_ids: Collection[str]) -> None:
        self.names = {task_id: task_id for task_id in task_ids}
        """The ids that were asked for, by the ids under which these tasks now run."""
        self.began = time.monotonic()
        self.next_look = self.began
        self.ended: deque[tuple[str, TaskRecord]] = deque()
        self.error: Exception | None = None
        self.news = threading.Event()

    def take(self) -> list[tuple[str, TaskRecord]]:
        """The tasks that ended since the last call. Raises the error of the thread that asks."""
        self.news.clear()
        error, self.error = self.error, None
        ended = []
        # One by one: the thread that asks may add to them meanwhile.
        while self.ended:
            ended.append(self.ended.popleft())
        if error is not None and not ended:
            raise error
        return ended


class Waiter:
    """Asks the storage which tasks have ended, the more rarely the longer they take."""

    def __init__(self, storage: ResultStorage, *, messages: bool = True) -> None:
        self._storage = storage
        self._messages = messages
        self._renew()
        watch_forks(self, in_child=Waiter._renew)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[Ticket] = []
        self._thread: threading.Thread | None = None

    def enter(self, task_ids: Collection[str]) -> Ticket:
        """Begin to wait for the ends of these tasks; to be left with `leave`."""
        notice_fork()
        ticket = Ticket(task_ids)
        with self._changed:
            self._tickets.append(ticket)
            if self._thread is None:
                self._begin(ticket)
            self._changed.notify()
        return ticket

    def _begin(self, ticket: Ticket) -> None:
        thread = threading.Thread(target=self._run, name="fullresult-waiter", daemon=True)
        try:
            begin(thread)
        except RuntimeError:
            self._tickets.remove(ticket)
            raise  # to this caller; the next one tries again
        self._thread = thread

    def leave(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def look(self, task_ids: Collection[str]) -> list[tuple[str, TaskRecord]]:
        """Those that have ended by now, asked by the caller himself."""
        ticket = Ticket(task_ids)
        self._collect([ticket])
        return list(ticket.ended)

    def _run(self) -> None:
        changed = self._changed
        while True:
            with changed:
                if not self._tickets and not changed.wait_for(lambda: self._tickets, _IDLE):
                    self._thread = None
                    return
                now = time.monotonic()
                due = [ticket for ticket in self._tickets if ticket.next_look <= now]
                if not due:
                    changed.wait(min(ticket.next_look for ticket in self._tickets) - now)
                    continue
            self._look(due)

    def _look(self, tickets: Sequence[Ticket]) -> None:
        began = time.monotonic()
        try:
            self._collect(tickets)
        except StorageError as error:
            _fail(tickets, error)
        except Exception as error:  # noqa: BLE001  (a thread that ends would end all waiting)
            # A record that cannot be read is the error of those alone who wait for it.
            if len(tickets) == 1:
                _fail(tickets, error)
            else:
                for ticket in tickets:
                    self._look([ticket])
                return
        now = time.monotonic()
        for ticket in tickets:
            wait = max(_SOONEST, (now - ticket.began) * _LATENESS, (now - began) * _DUTY)
            ticket.next_look = now + min(wait, _LATEST)

    def _collect(self, tickets: Iterable[Ticket]) -> None:
        wanted = {task_id for ticket in tickets for task_id in ticket.names}
        asked: set[str] = set()
        while wanted:
            asked |= wanted
            found = self._storage.get_ended(wanted, messages=self._messages)
            # What is ignored is no end: a chain that replaces a task ends under that one's id.
            _hand_out({r.task_id: r for r in found if state_of(r) in READY_STATES}, tickets)
            wanted = _follow(found, tickets) - asked


def _fail(tickets: Iterable[Ticket], error: Exception) -> None:
    for ticket in tickets:
        ticket.error = error
        ticket.news.set()


def _hand_out(records: Mapping[str, TaskRecord], tickets: Iterable[Ticket]) -> None:
    for ticket in tickets:
        for task_id in records.keys() & ticket.names.keys():
            ticket.ended.append((ticket.names.pop(task_id), records[task_id]))
        if ticket.ended:
            ticket.news.set()


def _follow(found: Iterable[TaskRecord], tickets: Iterable[Ticket]) -> set[str]:
    """Have those wait for the new ids who wait for what goes on under one; returns these ids."""
    new_ids = set()
    for record in found:
        new_id = goes_on_as(record)
        for ticket in tickets if new_id else ():
            if new_id and record.task_id in ticket.names:
                ticket.names[new_id] = ticket.names.pop(record.task_id)
                new_ids.add(new_id)
    return new_ids

"""Tells if the body of a chord was sent in a run that is not the chord's first.

A frozen chord that is applied again has the body of the run before, whose record is there. So it is
noted how that stands before the body is sent: a record that has moved since was sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from fullresult.record import UNSENT, TaskRecord, encoding
from fullresult.results import members, signatures
from fullresult.storage import ResultStorage

_NOTED = "body of run "
"""What is noted is kept as a group is, under this text, the run and the id of the chord."""


class LaterRuns:
    """What was noted of the bodies of one storage. Its methods raise `StorageError`."""

    def __init__(self, results: ResultStorage) -> None:
        self._results = results

    def note(
        self,
        chord_id: str,
        callback: Any,
        expire_at: datetime | None,
        unsent: Collection[str] = (),
    ) -> None:
        """Note how the tasks that *callback* begins with stand; one that is noted stays so.

        Of those that are *unsent* it is noted anew: the record says that this was tried. Of a first
        run nothing is noted.
        """
        if members.run_of(callback) == 1:
            return
        noted = self._noted(chord_id, callback)
        for task_id, record in self._records_of(callback).items():
            if task_id not in noted or task_id in unsent:
                noted[task_id] = _mark(record)
        self._results.save_group(
            _key(chord_id, callback), encoding.dumps(noted).encode(), expire_at
        )

    def sent(self, chord_id: str, callback: Any) -> tuple[set[str], bool]:
        """Those that were sent of the tasks *callback* begins with; True if that is all of them."""
        records = self._records_of(callback)
        sent = {task_id for task_id, record in records.items() if _is_there(record)}
        if sent and members.run_of(callback) > 1:
            noted = self._noted(chord_id, callback)
            sent = {
                task_id
                for task_id in sent
                if task_id in noted and noted[task_id] != _mark(records[task_id])
            }
        return sent, bool(records) and sent == records.keys()

    def forget(self, chord_id: str, callback: Any) -> None:
        """Forget what was noted: nothing is left to do."""
        if members.run_of(callback) > 1:
            self._results.delete_group(_key(chord_id, callback))

    def _noted(self, chord_id: str, callback: Any) -> dict[str, Any]:
        found = self._results.restore_group(_key(chord_id, callback))
        return {} if found is None else dict(encoding.loads(found.decode()))

    def _records_of(self, callback: Any) -> Mapping[str, TaskRecord | None]:
        ids = [*signatures.first_ids(callback)]
        keys = [encoding.key(task_id) for task_id in ids]
        found = {each.task_id: each for each in self._results.get_results(keys)}
        return {task_id: found.get(key) for task_id, key in zip(ids, keys, strict=True)}


def _key(chord_id: str, callback: Any) -> str:
    return f"{_NOTED}{members.run_of(callback)} of {chord_id}"


def _is_there(record: TaskRecord | None) -> bool:
    return record is not None and record.state != UNSENT


def _mark(record: TaskRecord | None) -> Any:
    """Another one for each event of the record."""
    if record is None:
        return None
    stamp = record.outcome and record.outcome.stamp
    return [record.date_updated.isoformat(), stamp, record.published_again]

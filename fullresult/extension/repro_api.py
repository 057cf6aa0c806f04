"""The part of the API that makes a recorded call again, here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fullresult.actions import repro
from fullresult.actions.audit import Actor, Trail, actor_here
from fullresult.actions.batch import unknown
from fullresult.actions.recorded_call import RecordedCall, write_test
from fullresult.actions.repro import Repro
from fullresult.extension.parts import Parts
from fullresult.record import TaskRecord, encoding
from fullresult.recording.rehearsal import KeptBack


class ReproAPI:
    """Makes recorded calls of one app again, in this process."""

    parts: Parts

    def repro(
        self,
        task_id: str | None = None,
        *,
        call: str | None = None,
        publish: bool = False,
        kept_back: list[KeptBack] | None = None,
        debug: Callable[[Exception], object] | None = None,
        actor: str | Actor | None = None,
    ) -> Repro:
        """Make the recorded call of *task_id* here, or a *call* that `write_repro` wrote as text.

        The task runs in this thread, under its own id, and does all that it does; but no record,
        result or retry of it comes to be. What it publishes through this app, from its own threads
        too, is put into *kept_back* and not sent, unless it is to *publish*; so is what *debug*
        publishes, which is called with what the task raises. Raises that. Before it begins:
        `LookupError` for an unknown id; `CannotRepro` if its arguments
        are not whole, if this app has no such task, in a worker, and, unless it is to
        *publish*, in any but the main thread; `StorageError`. A call by its
        id is in the audit log; one as text needs no storage.
        """
        parts = self.parts
        if (task_id is None) == (call is None):
            raise TypeError("give a task id, or a call as text")
        how: dict[str, Any] = {"publish": publish, "kept_back": kept_back, "debug": debug}
        if task_id is None:
            known = RecordedCall.loads(str(call))
            return repro.run(parts.app, parts.rehearsals, known, **how)
        who = actor if isinstance(actor, Actor) else actor_here("python", actor)
        trail = Trail(parts.storage, parts.recorder.redactor, who, "repro")
        known = RecordedCall.of(self._recorded(task_id))
        return repro.run_for(trail, parts.app, parts.rehearsals, known, **how)

    def write_repro(self, task_id: str, file: Path | str) -> list[Path]:
        """Write a pytest file that makes the recorded call of *task_id*; returns what was written.

        Arguments stand in it as JSON text, or in a file beside it if that is long. Raises
        `LookupError`; `CannotRepro`, also if *file* exists; `OSError`; `StorageError`.
        """
        return write_test(self._recorded(task_id), self.parts.app, Path(file))

    def _recorded(self, task_id: str) -> TaskRecord:
        record = self.parts.storage.get(encoding.key(task_id))
        if record is None:
            raise LookupError(unknown(task_id))
        return record

"""How members of a chord ended in a run that is not the chord's first.

A frozen chord that is applied again has the members of the run before, and the record of a member
has one end: that of another run if it came with a later attempt, or succeeded where this one did
not. So the end of a member of a later run is kept by itself as well, before it is written. And what
is stored of a success says which run it is of: if the record has it, nothing else need be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from celery import states
from celery.app.task import Context
from kombu.exceptions import EncodeError

from fullresult.record import encoding
from fullresult.recording.given_result import GivenResult
from fullresult.recording.optional_redactor import OptionalRedactor
from fullresult.results import members
from fullresult.results.meta import Meta
from fullresult.results.returned import MemberError
from fullresult.storage import ResultStorage, StorageError

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder

_KEPT = "end in run "
"""An end is kept as a group is, under this text, the run, and the ids of the chord and the task."""
_MOST = 1000


class KeepingBackend(Protocol):
    """The members of the result backend that keeping ends uses."""

    def encode_result(self, result: Any, state: str) -> Any:
        """*result* as it is kept: an exception becomes values."""
        ...

    def meta_from_decoded(self, meta: Meta) -> Meta:
        """*meta*, in which what an exception became is one again."""
        ...

    def keep(self, key: str, known: Meta) -> None:
        """Keep *known*. Raises `StorageError`, or kombu's `EncodeError`."""
        ...

    def kept(self, key: str) -> Meta | None:
        """What was kept under *key*. Raises `StorageError`."""
        ...

    def successes_in(self, run: int, keys: Sequence[str]) -> dict[str, Any]:
        """The values of the tasks whose records have the success of this *run*."""
        ...


class End(NamedTuple):
    """How a member ended."""

    name: str
    """The name by which it is counted."""
    size: int | None
    """The number of members of its chord; None if it does not know."""
    meta: Meta


class LaterEnds:
    """The ends in later runs of the chords of one backend."""

    def __init__(self, backend: KeepingBackend, results: ResultStorage, recorder: Recorder) -> None:
        self._backend = backend
        self._results = results
        self._recorder = recorder

    def keep(self, request: Context, state: str, result: Any) -> None:
        """Keep the end of the member *request*, before it is counted. Of a first run: nothing.

        Where the storage does not answer, the record alone tells how it ended.
        """
        if not (request.chord and request.group and request.id):
            return
        member = members.member_of(request)
        if member.run == 1 or self._recorder.writer.is_away:
            return
        value = None if request.ignore_result else result
        encoded = self._backend.encode_result(value, state)
        given = GivenResult(request.id, state, value, encoded, None, request)
        known = {
            "name": member.name,
            "size": request.chord.get(members.SIZE),
            "status": state,
            "result": OptionalRedactor(self._recorder.redactor).given(given).encoded,
        }
        with suppress(StorageError, EncodeError):  # what cannot be encoded is no result either
            self._backend.keep(_key(encoding.key(request.group), member.run, member.task_id), known)

    def find(self, chord_id: str, run: int, task_id: str) -> End | None:
        """How a task, by its recorded id, ended in this *run*. Raises `StorageError`."""
        known = self._backend.kept(_key(chord_id, run, task_id))
        if known is None:
            return None
        return End(known.pop("name"), known.pop("size"), known)

    def values(self, chord_id: str, run: int, task_ids: Mapping[str, str]) -> dict[str, Any]:
        """What these tasks returned in this *run*, as far as that is known.

        *task_ids* has them by their recorded ids. Raises `MemberError` for the first of them that
        failed, and `StorageError`.
        """
        found = self._backend.successes_in(run, [*task_ids])
        for key, task_id in task_ids.items():
            end = None if key in found else self.find(chord_id, run, key)
            if end is None:
                continue
            found[key] = self._backend.meta_from_decoded(end.meta)["result"]
            if end.meta["status"] in states.PROPAGATE_STATES:
                raise MemberError(task_id, found[key])
        return found

    def forget(self, chord_id: str, run: int) -> None:
        """Forget them: the body is sent. Raises `StorageError`.

        Those of a very large chord are left to expire: whoever sent the body has other tasks.
        """
        if run == 1:
            return
        ended = members.ids_of(self._results.get_members(chord_id), run)
        if len(ended) <= _MOST:
            for task_id in ended:
                self._results.delete_group(_key(chord_id, run, task_id))


def _key(chord_id: str, run: int, task_id: str) -> str:
    return f"{_KEPT}{run} of {chord_id} of {task_id}"

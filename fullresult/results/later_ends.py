"""How members of a chord ended in a run that is not the chord's first.

A frozen chord that is applied again has the members of the run before, and the record of a member
has one end: that of another run if it came with a later attempt, or succeeded where this one did
not. So the end of a member of a later run is kept by itself as well, before it is counted. And what
is stored of a success says which run it is of: if the record has it, nothing else need be read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from celery import states
from celery.app.task import Context
from celery.exceptions import BackendStoreError
from kombu.exceptions import EncodeError

from fullresult.record import encoding
from fullresult.recording.given_result import GivenResult
from fullresult.recording.optional_redactor import OptionalRedactor
from fullresult.results import members
from fullresult.results.meta import Meta, goes_on_as
from fullresult.results.returned import MemberError
from fullresult.storage import GroupsStorage, Refused, ResultStorage, StorageError

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder

_KEPT = "end in run "
"""An end is kept as a group is, under this text, the run, and the ids of the chord and the task."""
_AT_ONCE = 500
_MOST = 100_000


class KeepingBackend(Protocol):
    """The members of the result backend that keeping ends uses."""

    def encode_result(self, result: Any, state: str) -> Any:
        """*result* as it is kept: an exception becomes values."""
        ...

    def meta_from_decoded(self, meta: Meta) -> Meta:
        """*meta*, in which what an exception became is one again."""
        ...

    def as_kept(self, known: Meta) -> bytes:
        """*known*, serialised. Raises kombu's `EncodeError`."""
        ...

    def from_kept(self, value: bytes) -> Meta:
        """What `as_kept` serialised."""
        ...

    def expire_at(self) -> datetime | None:
        """When what is kept of a chord from now on may be deleted; None: never."""
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
        self._many = results if isinstance(results, GroupsStorage) else None
        self._recorder = recorder

    # ---- keeping

    def keep(self, request: Context, state: str, result: Any) -> bytes | None:
        """Keep the end of the member *request*, before it is counted. Of a first run: nothing.

        Returns what the storage does not take now: it goes with the count, and is kept before it.
        """
        if not (request.chord and request.group and request.id):
            return None
        member = members.member_of(request)
        if member.run == 1:
            return None
        try:
            end = self._encoded(request, member.name, state, result)
        except EncodeError:  # it is no result either: the task fails
            return None
        if self._recorder.writer.is_away:
            return end
        try:
            self.save(encoding.key(request.group), member.name, end, self._backend.expire_at())
        except StorageError:
            return end
        return None

    def _encoded(self, request: Context, name: str, state: str, result: Any) -> bytes:
        value = None if request.ignore_result else result
        encoded = self._backend.encode_result(value, state)
        given = GivenResult(str(request.id), state, value, encoded, None, request)
        shown = OptionalRedactor(self._recorder.redactor).given(given).encoded
        return self._as_kept(name, request.chord.get(members.SIZE), state, shown)

    def _as_kept(self, name: str, size: int | None, state: str, encoded: Any) -> bytes:
        known = {"name": name, "size": size, "status": state, "result": encoded}
        return self._backend.as_kept(known)

    def save(self, chord_id: str, name: str, end: bytes, expire_at: datetime | None) -> None:
        """Keep *end*, which `keep` returned of the member *name*. Raises `StorageError`.

        One that the storage refuses is kept as a failure that says so.
        """
        member = members.named(name)
        key = _key(chord_id, member.run, member.task_id)
        try:
            self._results.save_group(key, end, expire_at)
        except Refused as error:
            why = BackendStoreError(f"the result of task {member.task_id} is not kept: {error}")
            encoded = self._backend.encode_result(why, states.FAILURE)
            short = self._as_kept(name, self._end(end).size, states.FAILURE, encoded)
            self._results.save_group(key, short, expire_at)

    # ---- reading

    def _end(self, value: bytes) -> End:
        known = self._backend.from_kept(value)
        return End(known.pop("name"), known.pop("size"), known)

    def find(self, chord_id: str, run: int, task_ids: Collection[str]) -> dict[str, End]:
        """How tasks ended in this *run*, by their recorded ids, as far as that was kept.

        Raises `StorageError`.
        """
        found: dict[str, End] = {}
        for some in _batches(task_ids):
            keys = {_key(chord_id, run, task_id): task_id for task_id in some}
            found |= {keys[key]: self._end(value) for key, value in self._kept(keys).items()}
        return found

    def _kept(self, keys: Collection[str]) -> dict[str, bytes]:
        if self._many is not None:
            return self._many.restore_groups(keys)
        found = {key: self._results.restore_group(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def values(self, chord_id: str, run: int, task_ids: Mapping[str, str]) -> list[Any]:
        """What these tasks returned in this *run*, in their order.

        *task_ids* has them by their recorded ids. Raises `MemberError` for the first of them that
        failed, `LookupError` if it is not known how one of them ended in this run, `StorageError`.
        """
        found = self._followed(chord_id, run, task_ids)
        for key, task_id in task_ids.items():
            if key in found and found[key]["status"] in states.PROPAGATE_STATES:
                raise MemberError(task_id, found[key]["result"])
        lost = [task_id for key, task_id in task_ids.items() if key not in found]
        if lost:
            raise LookupError(
                f"how task {lost[0]} ended in run {run} of chord {chord_id} is not known "
                f"({len(lost)} such members)"
            )
        return [found[key]["result"] for key in task_ids]

    def _followed(self, chord_id: str, run: int, keys: Collection[str]) -> dict[str, Meta]:
        """The ends of these tasks, also where one went on under a new id."""
        found: dict[str, Meta] = {}
        wanted, seen = {key: key for key in keys}, {*keys}
        while wanted:
            ended = self._ended(chord_id, run, wanted)
            found |= {wanted[key]: meta for key, meta in ended.items()}
            left = [key for key in wanted if key not in ended]
            new = {new: wanted[old] for old, new in self._new_ids(left) if new not in seen}
            wanted = new
            seen |= {*new}
        return found

    def _ended(self, chord_id: str, run: int, keys: Collection[str]) -> dict[str, Meta]:
        found: dict[str, Meta] = {}
        for some in _batches(keys):
            noted = self._backend.successes_in(run, some)
            found |= {k: {"status": states.SUCCESS, "result": v} for k, v in noted.items()}
            ends = self.find(chord_id, run, [key for key in some if key not in noted])
            found |= {key: self._backend.meta_from_decoded(end.meta) for key, end in ends.items()}
        return found

    def _new_ids(self, keys: Collection[str]) -> Iterator[tuple[str, str]]:
        for some in _batches(keys):
            for record in self._results.get_results(some):
                if new := goes_on_as(record):
                    yield record.task_id, new

    # ---- forgetting

    def forget(self, chord_id: str, run: int) -> None:
        """Forget them: the body is sent. Raises `StorageError`.

        Of an immense chord the rest is left to expire: whoever sent the body has other tasks.
        """
        if run == 1:
            return
        ended = [*members.ids_of(self._results.get_members(chord_id), run)]
        for some in _batches(ended[:_MOST]):
            keys = [_key(chord_id, run, task_id) for task_id in some]
            if self._many is not None:
                self._many.delete_groups(keys)
                continue
            for key in keys:
                self._results.delete_group(key)


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    known = [*ids]
    for start in range(0, len(known), _AT_ONCE):
        yield known[start : start + _AT_ONCE]


def _key(chord_id: str, run: int, task_id: str) -> str:
    return f"{_KEPT}{run} of {chord_id} of {task_id}"

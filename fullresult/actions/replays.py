"""Replays, as a person deals with them: seen before, begun, paused, resumed, cancelled, undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fullresult.actions.audit import Actor, AuditLog, Trail, filters_of
from fullresult.actions.replay_ends import WHOLE, Ends, Part, Undone, Walk, after_part
from fullresult.actions.replay_preview import LOOKED_AT, MOST_COUNTED, Preview, is_swept, previewed
from fullresult.record import TaskQuery, encoding
from fullresult.record.replay import (
    ACTIVE,
    CANARY,
    CANCELLED,
    DONE,
    HELD,
    OF_CANARY,
    PAUSED,
    RUNNING,
    UNDONE,
    Replay,
    frozen,
)
from fullresult.scheduling import replay_window
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.recording.redaction import Redactor
    from fullresult.storage import Storage
    from fullresult.storage.replays import ReplayStorage

MANY = 100
"""More tasks than these are sent by a replay, if nothing else is said."""
_OF_ARGUMENTS = frozenset({"args", "args_at", "kwargs", "text"})
_TRIES = 10
_LEAST_RATE, _MOST_RATE = 1 / 86_400, 1_000.0


class WrongReplay(ValueError):
    """What is asked of a replay is not possible; the message says why."""


@dataclass(frozen=True)
class Stop:
    """When a replay stops: more than the part *ratio* of at least *minimum* ends are failures."""

    ratio: float
    minimum: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1 or self.minimum < 1:
            raise WrongReplay(f"stop_if must be a part from 0 to 1 of 1 or more ends, not {self}")


@dataclass(frozen=True)
class Progress:
    """What became of what a replay took."""

    taken: int
    counted: int
    """The last ones, of which the rest is: no more than `MOST_COUNTED`."""
    waiting: int
    """Not sent yet."""
    claimed: int
    """Claimed by a sweeper: being sent, or, if that died, perhaps sent."""
    ended: dict[str, int]
    """The number that ended, by state."""

    @property
    def is_of_the_last(self) -> bool:
        """True if more were taken than are counted."""
        return MOST_COUNTED <= self.counted < self.taken

    @property
    def under_way(self) -> int:
        """Sent and not ended."""
        return max(self.counted - self.waiting - self.claimed - sum(self.ended.values()), 0)


class Replays:
    """The replays of one app. Each deed is written to the audit log. Raises `StorageError`."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: ReplayStorage,
        recorder: Recorder,
        actor: Actor,
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._actor = actor
        self._events = ScheduleEvents(settings)
        self._ends = Ends(app, settings, storage)

    def preview(
        self,
        query: TaskQuery,
        queue: str | None = None,
        *,
        all: bool = False,  # noqa: A002  # As `--all` of the command.
        most: int = MOST_COUNTED,
        by: int = LOOKED_AT,
    ) -> Preview:
        """What a replay of *query* would send: counted up to *most*, and judged *by* the oldest.

        To *queue*, if that is given. Without *all*, nothing that is dealt with, as in `create`.
        """
        known = (self._app, self._settings, self._storage, self._recorder)
        return previewed(*known, _unresolved(query, all), queue, most, by)

    def until_now(self, query: TaskQuery) -> TaskQuery:
        """*query*, of nothing that is created from now on."""
        return query.created_before(self._storage.now())

    def takes_over(self, query: TaskQuery, number: int, limit: int | None = None) -> bool:
        """True if the *number* tasks of *query* are sent by a replay, if nothing else is said.

        They are many, and a sweeper is at work. With a *limit* they are not, nor if *query* asks
        for what is dealt with, which a replay leaves out.
        """
        is_asked_for = limit is None and query.unresolved is True
        return is_asked_for and number > MANY and is_swept(self._storage, self._settings)

    def begin(self, query: TaskQuery, rate: float) -> Replay:
        """`create`, if not all would be left out: else `WrongReplay`, with the reasons."""
        query = self.until_now(query)
        self.check_sends(self.preview(query))
        return self.create(query, rate=rate)

    def check_sends(self, seen: Preview) -> None:
        """Raises `WrongReplay` if all of what was *seen* would be left out."""
        if seen.sends_none:
            reasons = "; ".join(f"{number:,} {why}" for why, number in seen.left_out.items())
            raise WrongReplay(f"a replay would send none of these: {reasons}")

    def create(
        self,
        query: TaskQuery | None = None,
        *,
        rate: float = 20.0,
        canary: int = 0,
        canary_wait: timedelta = timedelta(minutes=10),
        stop_if: Stop | None = None,
        name: str | None = None,
        queue: str | None = None,
        all: bool = False,  # noqa: A002  # As `--all` of the command.
        **filters: Any,
    ) -> Replay:
        """Begin a replay of what matches now. Sweepers send it, whatever becomes of this process.

        *query*, or its fields as keywords; nothing that is created later is sent, nor, without
        *all*, what is dealt with, unless the query says itself. *rate* is in tasks a second. After
        the first *canary* tasks it waits for their ends. Raises `WrongReplay`.
        """
        asked = _unresolved(_asked(query, filters), all)
        _check(rate, canary, canary_wait)
        _check_hides_nothing(asked, self._recorder.redactor)
        if queue is not None:
            self._app.amqp.router.expand_destination({"queue": queue})
        now = self._storage.now()
        replay = Replay(
            replay_id=uuid4().hex[:12],
            namespace=self._settings.namespace,
            state=CANARY if canary else RUNNING,
            date_created=now,
            query=frozen(asked, now),
            rate=float(rate),
            canary=canary,
            canary_wait=canary_wait.total_seconds(),
            ratio=None if stop_if is None else stop_if.ratio,
            minimum=1 if stop_if is None else stop_if.minimum,
            queue=queue,
            name=name,
            actor=self._actor.name,
            reason=f"begun by {self._actor.name}",
        )
        self._storage.keep_replay(replay, instead_of=None)
        how = {"rate": rate, "canary": canary, "queue": queue, "name": name}
        self._note(replay, "create", {**filters_of(asked), **how})
        return replay

    def list(self, *, limit: int = 100) -> Sequence[Replay]:
        """The replays, the newest first."""
        return self._storage.find_replays(limit=limit)

    def get(self, replay_id: str) -> Replay:
        """Raises `LookupError` for an unknown id."""
        found = self._storage.find_replays(replay_ids=[encoding.key(replay_id)])
        if not found:
            raise LookupError(f"there is no replay {replay_id!r}")
        return found[0]

    def progress(self, replay_id: str) -> Progress:
        """What became of what it took. Raises `LookupError`."""
        taken = self.get(replay_id).taken
        found = self._storage.count_replayed(replay_id, MOST_COUNTED)
        return Progress(max(taken, found.counted), *found)

    # ---- from one state to another

    def pause(self, replay_id: str) -> Replay:
        """Have it send nothing more for now. Raises `LookupError` and `WrongReplay`."""
        replay = self._move(replay_id, ACTIVE, PAUSED)
        held = replay_window.hold(self._storage, self._events, replay)
        self._note(replay, "pause", {"taken": replay.taken, "held": held})
        return replay

    def resume(self, replay_id: str) -> Replay:
        """Have it go on. Raises `LookupError` and `WrongReplay`.

        If it was paused before its canary had ended, that is waited for; if the canary itself had
        it wait or stop, no more.
        """
        replay = self.get(replay_id)
        _check_state(replay, HELD)
        due, first = replay_window.let_go(self._storage, self._events, replay)
        if _is_of_canary(replay):
            since = replay.canary_since and self._storage.now()
            replay = self._move(replay_id, HELD, CANARY, next_due=due, canary_since=since)
        else:
            replay = self._move(replay_id, HELD, RUNNING, next_due=due, watched_from=first)
        self._note(replay, "resume", {"taken": replay.taken})
        return replay

    def cancel(self, replay_id: str) -> int:
        """End it; what it took and is not sent never will be. Returns how many those were.

        One that was cut off, as by an error of the storage, may be done again.
        """
        return self.cancel_part(replay_id, WHOLE).cancelled

    def cancel_part(self, replay_id: str, part: Part) -> Undone:
        """The same, but only *part* of what it took is looked at: nothing more is taken."""
        replay = self._move(replay_id, (*ACTIVE, *HELD, CANCELLED), CANCELLED)
        walk = Walk(self._storage, replay, "cancel", part)
        ended = self._ends.cancel(walk)
        self._keep_part(replay_id, walk, ended)
        self._note(replay, "cancel", {"taken": replay.taken, "cancelled": ended.cancelled})
        return ended

    def undo(self, replay_id: str, part: Part = WHOLE) -> Undone:
        """Cancel what is not sent, revoke what has not begun, and say what ran.

        What ran keeps its effects. Raises `LookupError`, `WrongReplay` if that was done, and the
        errors of the broker. After these, and if some may still run, it is not undone, and that may
        be asked for again. It is `UNDONE` when the last *part* is.
        """
        replay = self.get(replay_id)
        if replay.state != DONE:
            replay = self._move(replay_id, (*ACTIVE, *HELD, CANCELLED), CANCELLED)
        walk = Walk(self._storage, replay, "undo", part)
        undone = self._ends.undo(walk)
        self._keep_part(replay_id, walk, undone)
        counts = {"cancelled": undone.cancelled, "revoked": len(undone.revoked)}
        more = {"may_run": len(undone.may_run)} if undone.may_run else {}
        self._note(replay, "undo", {**counts, "ran": len(undone.ran), **more})
        return undone

    def _keep_part(self, replay_id: str, walk: Walk, part: Undone) -> None:
        for _ in range(_TRIES):
            replay = self.get(replay_id)
            after = after_part(replay, walk, part, self._actor.name)
            is_known = after == replay or replay.state == UNDONE  # by somebody else meanwhile
            if is_known or self._storage.keep_replay(after, instead_of=replay.version):
                return
        raise _too_fast(replay_id)

    def _move(self, replay_id: str, states: Sequence[str], state: str, **changes: Any) -> Replay:
        for _ in range(_TRIES):
            replay = self.get(replay_id)
            _check_state(replay, states)
            moved = replace(
                replay,
                state=state,
                version=replay.version + 1,
                reason=f"{state.lower()} by {self._actor.name}",
                **changes,
            )
            if self._storage.keep_replay(moved, instead_of=replay.version):
                return moved
        raise _too_fast(replay_id)

    def _note(self, replay: Replay, verb: str, details: Mapping[str, Any]) -> None:
        known = {"replay": replay.replay_id, "did": verb, **details}
        trail = Trail(self._storage, self._recorder.redactor, self._actor, "replay", known)
        trail.write([], {})


def _too_fast(replay_id: str) -> WrongReplay:
    return WrongReplay(f"replay {replay_id} changes too fast; try again")


def _is_of_canary(replay: Replay) -> bool:
    """True if a person paused *replay* while its canary was to be waited for."""
    was_asked = replay.state == PAUSED and not replay.reason.startswith(OF_CANARY)
    return was_asked and replay.canary > 0 and replay.taken <= replay.canary


def noted_by(
    storage: Storage, redactor: Redactor | None
) -> Callable[[Replay, Mapping[str, Any]], None]:
    """Writes what the governor did to the audit log, by the name of who began the replay."""

    def note(replay: Replay, details: Mapping[str, Any]) -> None:
        known = {"replay": replay.replay_id, "did": replay.state, "by": "governor", **details}
        counts = {"taken": replay.taken, "begun by": replay.actor}
        try:
            AuditLog(storage, redactor).write(
                "replay", "fullresult", [], {**known, **counts}, "done"
            )
        except StorageError:
            return  # it is in the replay, too

    return note


def _asked(query: TaskQuery | None, filters: Mapping[str, Any]) -> TaskQuery:
    if query is None and not filters:
        raise WrongReplay("say which tasks: a TaskQuery, or its fields as keywords")
    if query is not None and filters:
        raise WrongReplay("give a TaskQuery or its fields as keywords, not both")
    found = query if query is not None else TaskQuery(**filters)
    if not found.is_narrow:
        raise WrongReplay(
            "this would send every record again, or nearly every one: say which tasks, by a filter "
            "that is not None or empty, and not only by what it leaves out"
        )
    return found


def _unresolved(query: TaskQuery, all: bool) -> TaskQuery:  # noqa: A002
    """*query* without what is dealt with, if it does not say itself, and not *all* is meant."""
    if all or query.unresolved is not None:
        return query
    return replace(query, unresolved=True)


def check_rate(rate: float) -> None:
    """Raises `WrongReplay`."""
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise WrongReplay(
            f"rate must be more than 0, one a day or more, and at most {_MOST_RATE:g}/s, "
            f"not {rate!r}"
        )


def _check_hides_nothing(asked: TaskQuery, redactor: Redactor | None) -> None:
    """A replay is kept with what it looks for."""
    looked_for = filters_of(asked).get("filters", {})
    if redactor is None or not looked_for:
        return
    shown = redactor.details({"filters": looked_for})["filters"]
    for name in _OF_ARGUMENTS & looked_for.keys():
        if not isinstance(shown, Mapping) or shown[name] != looked_for[name]:
            raise WrongReplay(f"{name} has a value that fullresult_redact hides; leave it out")


def _check(rate: float, canary: int, canary_wait: timedelta) -> None:
    check_rate(rate)
    if canary < 0:
        raise WrongReplay(f"canary must be 0 or more, not {canary!r}")
    if canary_wait <= timedelta(0):
        raise WrongReplay(f"canary_wait must be more than 0, not {canary_wait!r}")


def _check_state(replay: Replay, states: Sequence[str]) -> None:
    if replay.state not in states:
        raise WrongReplay(f"replay {replay.replay_id} is {replay.state}: {replay.reason}")

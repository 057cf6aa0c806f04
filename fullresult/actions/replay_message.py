"""Which tasks a replay sends, and the schedule and events of each."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from fullresult.actions.errors import CannotResend, LeftAlone
from fullresult.actions.missing import RUNNING, Sparing
from fullresult.actions.resend import Resender
from fullresult.insight.surgery.signatures import membership_of
from fullresult.record import REVOKED, STARTED, SUCCESS, UNSENT, TaskQuery, TaskRecord
from fullresult.record.replay import Replay, Taking
from fullresult.scheduling.replay_governor import LeftOut
from fullresult.scheduling.schedule_maker import NotDivertible, ScheduleMaker

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

OWN = "sent by this replay"
"""One that failed again, and that a host whose clock is slow dated before the replay."""
UNSENDABLE = "cannot be sent again"
NOT_ENDED = "not ended"
MEMBER = "a member of a chord, whose body would not run"
STEP = "a step of a chain that succeeded: the later ones would run again"


class Preparing:
    """Makes the re-sends of replays. Sends nothing."""

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, recorder: Recorder
    ) -> None:
        self._resender = Resender(app, recorder)
        self._maker = ScheduleMaker(settings, recorder)
        self._recorder = recorder
        self._storage = storage
        self._sparing = Sparing(storage)

    def __call__(self, replay: Replay, record: TaskRecord, due: datetime, position: int) -> Taking:
        """The taking of *record* by *replay*. Raises `LeftOut`."""
        if record.retry_of is not None and record.task_id == replay.new_id(record.retry_of):
            raise LeftOut(OWN)
        options = {"task_id": replay.new_id(record.task_id)}
        self.check(record, options["task_id"])
        if replay.queue is not None:
            options["queue"] = replay.queue
        try:
            known, call = self._resender.call(record, None, None, options)
            made = self._maker.schedule(call, due, may_rename=False)
        except (CannotResend, NotDivertible) as error:
            raise LeftOut(UNSENDABLE) from error
        schedule = made._replace(schedule_id=replay.schedule_id(record.task_id))
        event = self._recorder.scheduled(call, schedule, due, (record.task_id, known))
        again = record.sent_again(schedule.task_id, event.date_created)
        return Taking(record.task_id, position, schedule, (event, *filter(None, [again])))

    def check(self, record: TaskRecord, own: str | None = None) -> None:
        """Raises `LeftOut` if a replay does not send this task.

        *own* is its re-send by the same replay: on MongoDB, a page that was cut off is done again.
        """
        if record.outcome is not None and record.outcome.open and record.state != STARTED:
            raise LeftOut(NOT_ENDED)
        if record.embed.get("chord") or membership_of(record) is not None:
            raise LeftOut(MEMBER)
        if record.state == SUCCESS and record.embed.get("chain"):
            raise LeftOut(STEP)
        try:
            self._sparing.check(record)
        except LeftAlone as error:
            if error.why == RUNNING or self._was_sent(record, own):
                raise LeftOut(error.why) from error

    def check_whole(self, record: TaskRecord) -> None:
        """As `check`, and if its message is not whole."""
        self.check(record)
        try:
            self._resender.call(record, None, None, {})
        except CannotResend as error:
            raise LeftOut(UNSENDABLE) from error

    def _was_sent(self, record: TaskRecord, own: str | None) -> bool:
        """True if it was sent again, not as *own*, and that was not cancelled."""
        asked = TaskQuery(retry_of=record.task_id, not_state=(REVOKED, UNSENT), limit=2)
        return any(each.task_id != own for each in self._storage.find(asked))

"""The periodic tasks of beat's plan, and the last run of each."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from celery import Celery
from celery.beat import BeatLazyFunc, PersistentScheduler, ScheduleEntry, Scheduler
from celery.schedules import crontab, schedule
from celery.utils.imports import load_extension_class_names, symbol_by_name

from fullresult.insight.cron_words import cron_words
from fullresult.record import TaskRecord, encoding
from fullresult.record.dates import to_utc
from fullresult.recording.message import Call
from fullresult.scheduling.own_entries import own_entries
from fullresult.storage import Storage, TaskQuery

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.recording.redaction import Redactor

_PAGE, _PAGES = 100, 10
"""The last runs of the periodic tasks that send one task are looked for among this many of its
newest records: one that is sent daily may stand behind many of one that is sent by the minute."""
_RUNS = 10
_AT_LEAST = 10
"""Tasks whose runs are looked for, however little time there is."""


class SchedulerError(Exception):
    """Beat's scheduler cannot be read; the message says why."""


class Run(NamedTuple):
    """One run of a periodic task."""

    task_id: str
    state: str
    date_created: datetime


@dataclass(frozen=True)
class PeriodicTask:
    """One entry of beat's plan."""

    name: str
    task: str
    schedule: str
    """For people: `*/5 * * * *`, `every 30 seconds`, or the name that a class of the user's gives
    itself."""
    args: tuple[Any, ...]
    """As they may be recorded: what `fullresult_redact` hides is hidden, though it is sent. An
    argument that is made when the task is sent is a text in angle brackets."""
    kwargs: dict[str, Any]
    options: dict[str, Any]
    """Keywords of `apply_async`."""
    enabled: bool
    last_run: TaskRecord | None
    """The newest record of it. None where none is found, as for tasks that are never recorded."""
    last_run_by: Literal["entry", "task"] | None
    """"entry": the record names this entry. "task": the record names no entry, and is of the same
    task."""
    next_due: datetime | None
    """When beat sends it next; in the past if beat is not running. None: not known."""
    words: str | None = None
    """A crontab in words, with its time zone."""
    runs: tuple[Run, ...] = ()
    """Its last runs, the newest first, 10 at most: of the entry, or else of the task."""
    looked: bool = True
    """False if there was no time to look for its runs."""


class Periodic:
    """The plan of one app's beat, read anew each time."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: Storage,
        redactor: Redactor | None,
        scheduler: str | None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._redactor = redactor
        self._scheduler = scheduler or app.conf.beat_scheduler

    def all(self, seconds: float | None = None) -> list[PeriodicTask]:
        """Every periodic task, by name. Raises `SchedulerError` and `StorageError`.

        After about *seconds*, no more runs are looked for; of the first ten tasks they are.
        """
        entries = self.entries()
        names: dict[str, set[str]] = {}
        for entry in entries:
            names.setdefault(entry.task, set()).add(entry.name)
        end = None if seconds is None else time.monotonic() + seconds
        runs: dict[str, _LastRuns] = {}
        for task, some in names.items():
            if end is not None and len(runs) >= _AT_LEAST and time.monotonic() > end:
                break
            runs[task] = _last_runs(self._storage, task, some)
        return [_described(entry, runs.get(entry.task), self._shown(entry)) for entry in entries]

    def _shown(self, entry: ScheduleEntry) -> Call:
        """The call that it sends, redacted: the configuration may hold secrets."""
        args = [_placeholder(value) for value in entry.args or ()]
        kwargs = {key: _placeholder(value) for key, value in (entry.kwargs or {}).items()}
        headers = {**((entry.options or {}).get("headers") or {}), "task": entry.task}
        call = Call((args, kwargs, {}), None, {"headers": headers})
        return call if self._redactor is None else self._redactor.call(call)

    def entries(self) -> list[ScheduleEntry]:
        """The entries as beat has them, by name. Raises `SchedulerError`."""
        # As beat does: any module of the app may register periodic tasks.
        self._app.loader.import_default_modules()
        self._app.finalize()
        found = _configured(self._app)
        for name, entry in own_entries(self._app, self._settings).items():
            found[name] = ScheduleEntry(**entry, name=name, app=self._app)
        found.update(self._kept_by_scheduler())
        return [found[name] for name in sorted(found)]

    def _kept_by_scheduler(self) -> dict[str, ScheduleEntry]:
        """The entries of a scheduler that does not take them from the configuration."""
        try:
            kind = _class_of(self._scheduler)
            if kind is Scheduler or issubclass(kind, PersistentScheduler):
                # They have the configured entries. Only beat may open the file of one of them.
                return {}
            scheduler = kind(
                app=self._app,
                schedule_filename=self._app.conf.beat_schedule_filename,
                max_interval=self._app.conf.beat_max_loop_interval,
                lazy=True,
            )
            return {entry.name: entry for entry in _kept_by(scheduler)}
        except Exception as error:
            raise SchedulerError(
                f"beat_scheduler = {self._scheduler!r} cannot be read: {encoding.safe_str(error)}"
            ) from error


def _class_of(scheduler: str) -> type[Scheduler]:
    """The class that `celery beat --scheduler` would take: by path, or by a package's alias."""
    aliases = dict(load_extension_class_names("celery.beat_schedulers"))
    found: type[Scheduler] = symbol_by_name(scheduler, aliases=aliases)
    return found


def _configured(app: Celery) -> dict[str, ScheduleEntry]:
    """The entries of `beat_schedule` and `add_periodic_task`, and Celery's own."""
    scheduler = Scheduler(app, lazy=True)
    scheduler.merge_inplace(app.conf.beat_schedule)
    with suppress(Exception):  # Beat reports a result backend that cannot be made.
        scheduler.install_default_entries(scheduler.schedule)
    return dict(scheduler.schedule)


def _kept_by(scheduler: Scheduler) -> Iterable[ScheduleEntry]:
    # What is not due within hours, or disabled, is in the `schedule` of neither of these two.
    models = getattr(getattr(scheduler, "Model", None), "_default_manager", None)
    if models is not None:  # django-celery-beat
        return [scheduler.Entry(model, app=scheduler.app) for model in models.all()]
    redbeat = getattr(scheduler.app, "redbeat_conf", None)
    if redbeat is not None and hasattr(scheduler.Entry, "from_key"):
        return list(_kept_by_redbeat(scheduler, redbeat.schedule_key))
    return list((scheduler.schedule or {}).values())


def _kept_by_redbeat(scheduler: Scheduler, key: str) -> Iterator[ScheduleEntry]:
    from redbeat.schedulers import get_redis

    for name in get_redis(scheduler.app).zrange(key, 0, -1):
        with suppress(KeyError):  # deleted meanwhile
            yield scheduler.Entry.from_key(name, app=scheduler.app)


@dataclass
class _LastRuns:
    """The last runs found among the newest records of one task."""

    by_entry: dict[str, TaskRecord] = field(default_factory=dict)
    sent_by_beat: dict[str, datetime] = field(default_factory=dict)
    """Beat counts from these; it does not know of tasks that people triggered or re-sent."""
    of_none: TaskRecord | None = None
    runs: dict[str | None, list[Run]] = field(default_factory=dict)
    """By entry; under None those that name none."""

    def note(self, record: TaskRecord) -> None:
        """Take *record* into account; the newest comes first."""
        name = record.periodic_entry
        runs = self.runs.setdefault(name, [])
        if len(runs) < _RUNS:
            runs.append(Run(record.task_id, record.state, record.date_created))
        if name is None:
            self.of_none = self.of_none or record
            return
        self.by_entry.setdefault(name, record)
        if not record.triggered and record.retry_of is None:
            self.sent_by_beat.setdefault(name, record.date_created)


def _last_runs(storage: Storage, task: str, entries: set[str]) -> _LastRuns:
    """The last runs of *entries*, as far as they are among the newest records of *task*."""
    known = _LastRuns()
    query = TaskQuery(name=glob.escape(task), limit=_PAGE)
    for _ in range(_PAGES):
        page = storage.find(query)
        for record in page:
            known.note(record)
        named = any(record.periodic_entry is not None for record in page)
        if len(page) < _PAGE or not named or entries <= known.sent_by_beat.keys():
            break
        query = replace(query, after=page[-1].cursor)
    return known


def _described(entry: ScheduleEntry, found: _LastRuns | None, shown: Call) -> PeriodicTask:
    runs = found or _LastRuns()
    own = runs.by_entry.get(entry.name)
    last = own or runs.of_none
    enabled = is_enabled(entry)
    return PeriodicTask(
        name=entry.name,
        task=entry.task,
        schedule=schedule_text(entry.schedule),
        args=tuple(shown.parts[0]),
        kwargs=dict(shown.parts[1]),
        options=_options(entry, shown),
        enabled=enabled,
        last_run=last,
        last_run_by="entry" if own else "task" if last else None,
        next_due=_next_due(entry, runs.sent_by_beat.get(entry.name)) if enabled else None,
        words=_words(entry.schedule),
        runs=tuple(runs.runs.get(entry.name if own else None, ())),
        looked=found is not None,
    )


def _words(plan: Any) -> str | None:
    if not isinstance(plan, crontab):
        return None
    try:
        return cron_words(plan)
    except Exception:  # noqa: BLE001  (a class of the user's may raise anything)
        return None


def is_enabled(entry: ScheduleEntry) -> bool:
    """False if it is kept, and not sent."""
    return bool(getattr(getattr(entry, "model", entry), "enabled", True))


def schedule_text(plan: Any) -> str:
    """The times at which it is sent, for people."""
    if isinstance(plan, crontab):
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return " ".join(_field(getattr(plan, f"_orig_{field}", "?")) for field in fields)
    if isinstance(plan, schedule):
        if plan.seconds < 1:
            return f"every {plan.seconds:g} seconds"
        return f"every {plan.human_seconds}".replace(".00 ", " ")
    return encoding.safe_repr(plan).strip("<>")


def _field(value: Any) -> str:
    """One field of a crontab, which may be text, a number or several numbers."""
    if isinstance(value, (str, int)):
        return str(value)
    return ",".join(map(str, sorted(value)))


def _next_due(entry: ScheduleEntry, sent: datetime | None) -> datetime | None:
    """When beat sends it next; None if that cannot be known from here."""
    try:
        if hasattr(entry, "due_at"):  # RedBeat says it itself
            return None if entry.due_at is None else to_utc(entry.due_at)
        model = getattr(entry, "model", None)
        return _from_plan(entry, sent) if model is None else _from_model(entry, model, sent)
    except Exception:  # noqa: BLE001  (a class of the user's may raise anything)
        return None


def _from_model(entry: ScheduleEntry, model: Any, sent: datetime | None) -> datetime | None:
    """The same of an entry of django-celery-beat, whose own `is_due` would change the model."""
    now = datetime.now(timezone.utc)
    start, end, known = (
        getattr(model, name, None) for name in ("start_time", "expires", "last_run_at")
    )
    if any(when is not None and when.tzinfo is None for when in (start, end)):
        return None  # it depends on settings of Django's which clock a date is of
    if (end is not None and end <= now) or (model.one_off and model.total_run_count):
        return None
    if start is not None and start > now:
        return to_utc(start)
    if known is not None and known.tzinfo is not None:
        sent = known if sent is None else max(known, sent)
    due = _from_plan(entry, sent)
    return due if due is None or start is None else max(due, to_utc(start))


def _from_plan(entry: ScheduleEntry, since: datetime | None) -> datetime | None:
    plan = entry.schedule
    if since is None and isinstance(plan, schedule) and not isinstance(plan, crontab):
        return None  # It counts from the start of beat.
    now, plans = datetime.now(timezone.utc), plan.now()
    # The clock of django-celery-beat without time zones is off by Django's own.
    left: timedelta = plan.remaining_estimate(plans if since is None else since + (plans - now))
    return to_utc(now + left)


def _options(entry: ScheduleEntry, shown: Call) -> dict[str, Any]:
    options = dict(entry.options or {})
    if options.get("headers"):
        options["headers"] = {name: shown.headers[name] for name in options["headers"]}
    return options


def _placeholder(value: Any) -> Any:
    if not isinstance(value, BeatLazyFunc):
        return value
    made_by = getattr(value._func, "__qualname__", value._func)  # noqa: SLF001
    return f"<made by {made_by} when it is sent>"

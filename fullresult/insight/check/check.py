"""A check of all that waits in a storage against the code that runs here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from celery import Celery

from fullresult.config import Settings, is_recorded
from fullresult.insight.check.findings import Finding, Findings, Level
from fullresult.insight.check.rules import Broken, Rules
from fullresult.insight.check.uses import Tally, Use, Values, of_links, of_message
from fullresult.insight.fleet import lives_of, may_be_on
from fullresult.insight.periodic import Periodic, SchedulerError, is_enabled
from fullresult.insight.words import count_of
from fullresult.record import SCHEDULED, TaskRecord, pages
from fullresult.record.card import Card
from fullresult.record.shape import Shape
from fullresult.storage import ShapeStorage, Storage, TaskQuery

Against = Literal["live", "declared"]
_PAGE, _COUNTED = 500, 10_000
_NEAR = 10
"""Records that are looked at for one that calls its task in a certain way."""
_MOST = 20_000
"""Uses that are told apart."""
_BROKERS = 5
"""Brokers that are named."""


class Check:
    """One check. Raises `StorageError`."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: Storage,
        periodic: Periodic,
        *,
        recent: timedelta = timedelta(days=1),
        queues: Collection[str] = (),
        against: Against | None = None,
        values: int = 1,
    ) -> None:
        """*values*: messages of each use whose values are validated by models."""
        self._app = app
        self._settings = settings
        self._storage = storage
        self._periodic = periodic
        self._recent = recent
        self._values = values
        self._answer = Findings()
        self._left_out, self._hidden = 0, 0
        self._rules = Rules(app, self._consumed(queues, against))

    def run(self, known: Collection[str] = ()) -> Findings:
        """Check what is open and scheduled, what ended lately, and the periodic tasks.

        *known* are the keys of findings that were accepted before.
        """
        for query in (TaskQuery(open=True), TaskQuery(state=SCHEDULED)):
            self._look(query, "error")
        since = self._storage.now() - self._recent
        if self._recent:
            self._look(TaskQuery(open=False, not_state=[SCHEDULED], since=since), "warning")
        self._look_at_periodic()
        self._say_what_was_not_checked()
        self._sort(known)
        return self._answer

    # ---- queues

    def _consumed(self, queues: Collection[str], against: Against | None) -> Collection[str] | None:
        if queues:
            return queues
        if against == "declared" or (against is None and self._app.conf.task_queues):
            return _declared(self._app)
        cards = self._living()
        ours = self._settings.namespace
        mine = [card for card in cards or () if may_be_on(card, ours)]
        if mine:
            return {queue for card in mine for queue in card.queues}
        why = "neither task_queues nor the card of a living worker names any; give --queues"
        if cards:
            others = ", ".join(sorted({card.namespace for card in cards})[:_BROKERS])
            why = f"this app's broker is {ours}, and the workers that live are on {others}"
        elif against == "live":
            why = "no worker lives, or one that does has left no card"
        self._answer.notes.append(f"queues were not checked: {why}")
        return None

    def _living(self) -> list[Card] | None:
        """The cards of the workers that live; None if one has none."""
        now = self._storage.now()
        cards = [
            life.card
            for life in lives_of(self._storage, now, gone=0)
            if not life.worker.is_gone(now)
        ]
        known = [card for card in cards if card is not None]
        return known if len(known) == len(cards) else None

    # ---- what waits

    def _look(self, query: TaskQuery, level: Level) -> None:
        uses: dict[Use, Tally] = {}
        query = replace(query, order="oldest")
        if isinstance(self._storage, ShapeStorage):
            self._count(uses, self._storage, replace(query, limit=_COUNTED))
        else:
            for record in pages.walk(self._storage.find, replace(query, limit=_PAGE)):
                self._add_record(uses, record)
        self._judge(uses, level, query)

    def _count(self, uses: dict[Use, Tally], storage: ShapeStorage, query: TaskQuery) -> None:
        """Add what *storage* counts, page by page, and what of each page it does not."""
        while (page := storage.shapes(query)).after is not None:
            for shape in page.shapes:
                self._add(uses, shape, None)
            for start in range(0, len(page.apart), _PAGE):
                ids = page.apart[start : start + _PAGE]
                for record in self._storage.find(TaskQuery(task_ids=ids)):
                    self._add_record(uses, record)
            query = replace(query, after=page.after)

    def _add_record(self, uses: dict[Use, Tally], record: TaskRecord) -> None:
        self._add(uses, Shape.of(record), record)
        self._add_links(uses, record)

    def _add(self, uses: dict[Use, Tally], shape: Shape, record: TaskRecord | None) -> None:
        self._answer.checked += shape.number
        if shape.name is None:
            self._answer.unchecked += shape.number
            return
        if not is_recorded(shape.name, ()):
            return  # Celery's own tasks that poll, and ours
        use = of_message(shape)
        if use.positional is None:
            self._answer.unchecked += shape.number
        self._tally(uses, use, shape, None if record is None else _values(record))

    def _say_what_was_not_checked(self) -> None:
        if self._left_out:
            self._answer.notes.append(
                f"{count_of(self._left_out, 'call')} not checked: only the first {_MOST:,} ways in "
                "which tasks are called are told apart"
            )
        if self._hidden:
            self._answer.notes.append(
                f"values of {count_of(self._hidden)} not checked by their models: they are redacted"
            )

    def _tally(self, uses: dict[Use, Tally], use: Use, shape: Shape, values: Values) -> None:
        found = uses.get(use)
        if found is None:
            if len(uses) >= _MOST:
                self._left_out += shape.number
                return
            found = uses[use] = Tally()
        found.add(shape, values, self._values)

    def _add_links(self, uses: dict[Use, Tally], record: TaskRecord) -> None:
        shape = Shape.of(record)
        for use, values in of_links(record):
            self._tally(uses, use, shape, None if record.redacted else values)

    def _look_at_periodic(self) -> None:
        try:
            entries = self._periodic.entries()
        except SchedulerError as error:
            self._answer.notes.append(f"periodic tasks were not checked: {error}")
            return
        for entry in entries:
            if not is_enabled(entry):
                continue
            keywords = tuple(sorted(map(str, entry.kwargs or {})))
            queue = (entry.options or {}).get("queue")
            shown = queue if isinstance(queue, str) else None
            use = Use("periodic entry", entry.task, (len(entry.args or ()),), keywords, shown,
                      caller=entry.name)  # fmt: skip
            known = [*(entry.args or ())], dict(entry.kwargs or {})
            self._judge({use: Tally(count=1, samples=(known,))}, "error")

    # ---- findings

    def _judge(self, uses: dict[Use, Tally], level: Level, query: TaskQuery | None = None) -> None:
        for use, tally in uses.items():
            sampled = tally if query is None else self._sampled(use, tally, query)
            for broken in self._rules.broken(use, sampled):
                self._answer.found.append(_finding(broken, tally, level))

    def _sampled(self, use: Use, tally: Tally, query: TaskQuery) -> Tally:
        """*tally* with the values of some of its messages, if a model validates them."""
        if tally.example is None or use.positional is None or not self._rules.validates(use):
            return tally
        if use.how != "message":
            self._hidden += 0 if tally.samples else tally.count
            return tally
        if len(tally.samples) >= min(self._values, tally.count):
            return tally
        records = self._records_of(use, tally.example, query)
        samples = [values for values in map(_values, records) if values is not None]
        self._hidden += tally.count if records and not samples else 0
        return replace(tally, samples=(*tally.samples, *samples)[: self._values])

    def _records_of(self, use: Use, example: str, query: TaskQuery) -> list[TaskRecord]:
        """Some records that *query* finds and that call their task in this way."""
        wanted = replace(query, name=use.name, limit=_NEAR * self._values)
        if self._values > 1 and not wanted.name_is_glob:
            found = [
                each for each in self._storage.find(wanted) if of_message(Shape.of(each)) == use
            ]
            if found:
                return found[: self._values]
        record = self._storage.get(example)
        return [] if record is None else [record]

    def _sort(self, known: Collection[str]) -> None:
        merged = _merged(self._answer.found)
        self._answer.known = [finding for finding in merged if finding.key in known]
        self._answer.found = [finding for finding in merged if finding.key not in known]
        self._answer.found.sort(key=_urgency)


def _declared(app: Celery) -> Collection[str]:
    """The queues that the configuration names. A publish adds others to those of the app."""
    queues = app.conf.task_queues or [app.conf.task_default_queue]
    return {str(getattr(queue, "name", queue)) for queue in queues}


def _values(record: TaskRecord) -> Values:
    """Its arguments; None if some are not known or redacted: a mask is no value of a task."""
    args, kwargs = record.arguments
    known = isinstance(args, list) and isinstance(kwargs, dict) and not record.redacted
    return (args, kwargs) if known else None


def _finding(broken: Broken, tally: Tally, level: Level) -> Finding:
    worst: Level = "error" if "error" == level == broken.level else "warning"
    return Finding(
        broken.rule,
        worst,
        broken.task,
        broken.problem,
        broken.heal,
        tally.count,
        tally.example,
        tally.newest,
        tally.first_due,
        broken.place,
    )


def _urgency(finding: Finding) -> tuple[str, float, str]:
    due = finding.first_due
    return finding.level, float("inf") if due is None else due.timestamp(), finding.key


def _merged(found: list[Finding]) -> list[Finding]:
    """Findings of one key as one: an error if one is."""
    by_key: dict[str, Finding] = {}
    for each in found:
        known = by_key.get(each.key)
        by_key[each.key] = each if known is None else _both(known, each)
    return list(by_key.values())


def _both(a: Finding, b: Finding) -> Finding:
    if a.level != b.level:
        return a if a.level == "error" else b
    due = min(filter(None, (a.first_due, b.first_due)), default=None)
    return replace(a, count=a.count + b.count, first_due=due)

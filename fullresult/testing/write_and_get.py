"""The suite: what is written is what is read, merged."""

from __future__ import annotations

import functools
import json
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.record import SUCCESS, Entry, Message, Outcome, Start, TaskRecord
from fullresult.record.merging import fold, merge
from fullresult.storage import Refused, Storage, TaskQuery
from fullresult.testing import histories, samples
from fullresult.testing.fixtures import Fixtures, ids, known, thorough, write

P = TypeVar("P", Outcome, Message)
T = TypeVar("T", Outcome, Message, Start, Entry)

NEVER_NONE = ("stamp", "state", "open", "retries", "stale_from")

BIG = "é$.'\"\\ 中🎉\n" * 100_000

ODD_TEXTS = {
    "empty": "",
    "blank": " \t\r\n ",
    "quotes": "'\"`\\'' \\\" $$ %s %(a)s ? :a {} -- ;",
    "unicode": "ß é 中 🎉 \u202e \ufeff \u2028 \x7f \x85",
    "controls": "\x01\x02\x1f",
    "decomposed": "e\u0301 is not \u00e9",
    "big": BIG,
}
EXPRESSIONS = [
    *("$secret", "$$ROOT", "$a.b", '{"$function": 1}'),
    *("' || name || '", "%(name)s", "{name}", ":name", "${name}", "@name"),
]
"""Texts that a database, or a driver, may take for something with a meaning."""
ODD_IDS = {
    "one": "1",
    "odd": "é 中🎉 '\"`\\ $a.b %_*?[x] {}|/\n" + "\U0001f600" * 228,
    "long": "x" * 255,
    "blanks": "  a  ",
    "bar": "2026-01-31|a",
}


def _all_saying(text: str) -> TaskRecord:
    """A record with *text* in every text field, except stamps and JSON."""

    def saying(part: T) -> T:
        texts = {name for name in part._fields if isinstance(getattr(part, name), str)}
        said: dict[str, Any] = dict.fromkeys(texts - {"stamp", "args", "kwargs", "result"}, text)
        return part._replace(**said)

    return TaskRecord(
        text,
        *(samples.NOON,) * 3,
        outcome=saying(samples.RICH_OUTCOME),
        message=saying(samples.RICH_MESSAGE),
        start=saying(samples.start()),
        entries=(saying(samples.RICH_ENTRY),),
    )


def _without(part: P, field: str) -> P:
    known: dict[str, Any] = {field: None}
    return part._replace(**known)


class Keeping(Fixtures):
    def test_every_field_comes_back(self, storage: Storage) -> None:
        storage.write([samples.rich("a")])

        assert known(storage, "a") == samples.plain(samples.rich("a"))

    def test_each_field_of_an_outcome_may_be_none(self, storage: Storage) -> None:
        events = {
            field: samples.event(field, outcome=_without(samples.RICH_OUTCOME, field))
            for field in Outcome._fields
            if field not in NEVER_NONE
        }

        write(storage, events.values())

        for field, event in events.items():
            assert known(storage, field) == samples.plain(event), field

    def test_each_field_of_a_message_may_be_none(self, storage: Storage) -> None:
        events = {
            field: samples.event(field, message=_without(samples.RICH_MESSAGE, field))
            for field in Message._fields
            if field not in NEVER_NONE
        }

        write(storage, events.values())

        for field, event in events.items():
            assert known(storage, field) == samples.plain(event), field

    @pytest.mark.parametrize(
        "runtime", [0.0, 245186.382157, 96849903.539384, 5.8775334026536586e-297]
    )
    def test_a_runtime_is_kept_to_its_last_bit(self, storage: Storage, runtime: float) -> None:
        """Both in a new record and in one that a publisher began."""
        ended = samples.outcome(SUCCESS, runtime=runtime)
        storage.write([samples.event("published", message=samples.message())])

        for task_id in ("new", "published"):
            storage.write([samples.event(task_id, outcome=ended)])
            assert known(storage, task_id).outcome == ended

    def test_the_parts_of_a_record_may_be_missing(self, storage: Storage) -> None:
        events = [
            samples.event("bare"),
            samples.event("with outcome", outcome=samples.outcome()),
            samples.event("with message", message=samples.message()),
            samples.event("with start", start=samples.start(worker=None)),
            samples.event("with stored", stored=samples.stored(b"")),
            samples.event("with entry", entries=(samples.entry(),)),
        ]

        write(storage, events)

        for event in events:
            assert known(storage, event.task_id) == event

    def test_every_date_is_aware_in_utc_and_to_the_millisecond(self, storage: Storage) -> None:
        storage.write([samples.rich("a")])

        dates = samples.dates(known(storage, "a"))

        assert len(dates) == len(samples.dates(samples.rich("a")))
        assert {date.utcoffset() for date in dates} == {timedelta(0)}
        assert {date.microsecond % 1000 for date in dates} == {0}

    @pytest.mark.parametrize(
        "date",
        [samples.EPOCH, samples.LATEST, samples.after(1), samples.after(999), samples.NOON],
        ids=str,
    )
    def test_any_date_from_1970_to_9999_comes_back(self, storage: Storage, date: datetime) -> None:
        event = TaskRecord(
            "a",
            *(date, date, date),
            outcome=samples.outcome(date_started=date, date_done=date, stale_from=date),
            message=samples.message(eta=date, expires=date),
            start=samples.start(date),
            entries=(samples.entry(date_started=date, date_done=date),),
        )

        storage.write([event])

        assert known(storage, "a") == event

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
    def test_any_text_comes_back(self, storage: Storage, text: str) -> None:
        long: Any = {"exception_message": text, "traceback": text, "result_text": text}
        short = text if len(text) < 1000 else "short"
        event = samples.event(
            "a",
            outcome=samples.outcome("FAILURE", worker=short, exception_type=short, **long),
            message=samples.message(name=short, queue=short, routing_key=short, embed=text),
            entries=(samples.entry(exception_message=text, traceback=text),),
        )

        storage.write([event])

        assert known(storage, "a") == event

    @pytest.mark.parametrize("text", EXPRESSIONS)
    def test_no_text_is_evaluated_in_any_field(self, storage: Storage, text: str) -> None:
        """Neither in a new record nor in a merged one, alone or in a batch."""
        event = _all_saying(text)
        others = [samples.task(f"{text} {number}") for number in (1, 2)]

        storage.write([event])
        first = known(storage, text)
        write(storage, [event, *others])

        assert samples.plain(first) == samples.plain(known(storage, text)) == samples.plain(event)
        assert ids(storage.find(TaskQuery(name=text))) == [text]

    @pytest.mark.parametrize("task_id", ODD_IDS.values(), ids=ODD_IDS)
    def test_any_id_of_1_to_255_characters_is_told_apart(
        self, storage: Storage, task_id: str
    ) -> None:
        event = samples.task(task_id, entries=(samples.entry(),))

        write(storage, [event, samples.task(task_id[:-1] + "~"), samples.task(f"{task_id} ")])

        assert known(storage, task_id) == event
        assert storage.get(task_id + "a") is None
        assert ids(storage.find(TaskQuery(order="oldest"))) == sorted(
            [task_id, task_id[:-1] + "~", f"{task_id} "]
        )

    @pytest.mark.parametrize("size", [0, 1, 2_000_000])
    def test_a_body_is_kept_byte_for_byte(self, storage: Storage, size: int) -> None:
        body = (bytes(range(256)) * (size // 256 + 1))[:size]

        storage.write([samples.task("a", body=body)])

        message = known(storage, "a").message
        assert message is not None
        assert message.body == body
        assert type(message.body) is bytes

    @pytest.mark.parametrize(
        "value",
        [
            {"$set": {"a.b": 1, "$": 2, ".": 3, "": 4, "a b": 5, "é": 6, '"': 7, "\\": 8}},
            {"$function": {"body": "function() { return 1 }", "args": [], "lang": "js"}},
            {"$literal": "$name", "a": {"$set": {"a.b": "$_id"}}, "$where": "1", "_id": "$$NOW"},
            {"deep": json.loads("[" * 400 + "]" * 400)},
            {"large": [2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, 0.1, -0.5]},
            {"text": BIG},
            {"odd": ["\x01", "\u2028", "é", "🎉", "</script>", "' OR 1 = 1"]},
            {},
        ],
        ids=["keys", "function", "operators", "deep", "numbers", "big", "strings", "empty"],
    )
    def test_any_arguments_come_back(self, storage: Storage, value: dict[str, object]) -> None:
        result = json.dumps(value)
        event = samples.task("a", args=[value], kwargs=value, result=result, result_form="json")

        storage.write([event])
        first = known(storage, "a")
        storage.write([event])

        assert samples.plain(first) == samples.plain(known(storage, "a")) == samples.plain(event)

    def test_an_unknown_task_is_none(self, storage: Storage) -> None:
        storage.write([samples.task("a")])

        assert storage.get("b") is None
        assert storage.get("") is None

    def test_nothing_may_be_written(self, storage: Storage) -> None:
        assert list(storage.write([])) == []

    def test_what_cannot_be_kept_is_refused_whole(self, storage: Storage) -> None:
        """A storage keeps an odd text as it is, or refuses the whole batch."""
        odd = samples.task("b", exception_message="\x00 and \ud800")

        try:
            storage.write([samples.task("a"), odd, samples.task("c")])
        except Refused:
            assert storage.count(TaskQuery()) == 0
        else:
            assert known(storage, "b") == odd
        assert storage.write([samples.task("d")]) is not None

    def test_write_returns_the_ids_that_lack_a_message(self, storage: Storage) -> None:
        storage.write([samples.event("known", message=samples.message())])
        lacking = samples.event("lacking", outcome=samples.outcome("STARTED"))
        failing = samples.event(
            "failing", outcome=samples.outcome("STARTED"), entries=(samples.entry(),)
        )
        going_on = samples.event("known", outcome=samples.outcome("STARTED"))

        assert list(storage.write([going_on])) == []
        assert list(storage.write([lacking])) == ["lacking"]
        assert list(storage.write([failing])) == ["failing"]
        batch = [failing, going_on, lacking, samples.task("new")]
        assert sorted(storage.write(batch)) == ["failing", "lacking"]

    def test_entries_are_in_the_order_of_their_stamps(self, storage: Storage) -> None:
        entries = [samples.entry("RETRY", retries=retries) for retries in (3, 0, 2, 1, 11)]

        for entry in entries:
            storage.write([samples.event("a", entries=(entry,))])

        assert known(storage, "a").entries == tuple(sorted(entries))
        assert storage.find(TaskQuery())[0].entries == tuple(sorted(entries))

    def test_the_first_telling_of_an_entry_is_kept(self, storage: Storage) -> None:
        entry = samples.entry(worker="w")

        storage.write([samples.event("a", entries=(entry,))])
        storage.write([samples.event("a", entries=(entry, samples.entry("RETRY")))])

        assert known(storage, "a").entries == tuple(sorted((entry, samples.entry("RETRY"))))

    def test_the_greatest_stamp_wins_whatever_comes_last(self, storage: Storage) -> None:
        storage.write([samples.event("a", outcome=samples.outcome("SUCCESS", result="1"))])

        storage.write([samples.event("a", outcome=samples.outcome("STARTED", samples.after(9)))])

        assert known(storage, "a").state == "SUCCESS"

    def test_what_a_backend_was_given_last_is_kept_whatever_comes_last(
        self, storage: Storage
    ) -> None:
        first, last = samples.stored(b"1", "PROGRESS"), samples.stored(b"2")
        for task_id, order in {"a": (first, last), "b": (last, first)}.items():
            for stored in order:
                storage.write([samples.event(task_id, stored=stored)])

        kept = [known(storage, task_id).stored for task_id in "ab"]

        assert kept == [last, last]

    def test_no_outcome_takes_away_what_a_backend_was_given(self, storage: Storage) -> None:
        """Until it ends, a later attempt has the result of the earlier one."""
        storage.write([samples.task("a")])
        storage.write([samples.event("a", stored=samples.RICH_STORED)])
        outcome = samples.outcome("PENDING", retries=4)

        storage.write([samples.event("a", outcome=outcome)])

        record = known(storage, "a")
        assert record.outcome == outcome
        assert record.stored == samples.RICH_STORED

    def test_what_a_backend_was_given_is_never_cut(self, storage: Storage) -> None:
        stored = samples.stored(BIG.encode() * 4)

        storage.write([samples.event("a", stored=stored)])
        write(storage, [samples.event("b", stored=stored), samples.task("c")])

        assert [known(storage, task_id).stored for task_id in "abc"] == [stored, stored, None]

    def test_an_outcome_replaces_another_whole(self, storage: Storage) -> None:
        """Fields that the better outcome lacks are not filled in from the other."""
        storage.write([samples.rich("a")])
        outcome = samples.outcome("STARTED", retries=4)

        storage.write([samples.event("a", outcome=outcome)])

        assert known(storage, "a").outcome == outcome

    @thorough
    @given(data=st.data())
    def test_any_order_and_repetition_of_events_gives_the_same_record(
        self, storage: Storage, data: st.DataObject
    ) -> None:
        task_id = str(uuid4())
        history = data.draw(histories.histories(task_id))
        expected = functools.reduce(merge, history)

        for batch in data.draw(histories.deliveries(history)):
            storage.write(fold(batch))

        assert known(storage, task_id) == samples.plain(expected)

    @thorough
    @given(data=st.data())
    def test_events_of_several_tasks_in_any_batches_give_the_same_records(
        self, storage: Storage, data: st.DataObject
    ) -> None:
        tasks = {str(uuid4()): number for number in range(3)}
        told = [event for each in tasks for event in data.draw(histories.histories(each, most=3))]

        for batch in data.draw(histories.deliveries(told)):
            storage.write(fold(batch))

        for expected in fold(told):
            assert known(storage, expected.task_id) == samples.plain(expected)

    def test_a_large_batch_is_written(self, storage: Storage) -> None:
        entries = (Entry(*samples.RICH_ENTRY),)
        write(storage, [samples.task(f"{n}", entries=entries) for n in range(1_000)])

        assert storage.count(TaskQuery()) == 1_000
        assert known(storage, "999").entries == entries

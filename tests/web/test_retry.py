"""Retry, edit and retry, cancel, reschedule, send now, give back: previewed, confirmed, done.

Long because it has a section for each deed, over the same records.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from kombu.exceptions import OperationalError

from fullresult.record import TaskRecord
from fullresult.storage import StorageError
from fullresult.web import acting
from tests.kit import browsing
from tests.kit.browsing import Browser, charge, failed
from tests.kit.scheduling import left_claimed, only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from celery import Celery


# --- retry


def test_a_retry_is_shown_confirmed_and_sent_under_a_new_id(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    preview = browser.get(f"/retry?id={task_id}")
    nothing_yet = browsing.sent(app)

    page = browser.submit(preview.form("/retry"))

    assert nothing_yet == []
    (message,) = browsing.sent(app)
    assert (message["args"], message["kwargs"]) == ([0], {"amount": 0})
    assert page.url.endswith(f"/task?id={message['id']}")
    assert app.fullresult.get(message["id"]).retry_of == task_id


def test_a_form_that_is_sent_twice_acts_once(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    form = browser.get(f"/retry?id={task_id}").form("/retry")
    browser.submit(form)

    page = browser.submit(form)

    assert page.status == 409
    assert len(browsing.sent(app)) == 1


def test_a_selection_is_sent_again(app: Celery, browser: Browser) -> None:
    ids = failed(app, 4)
    form = browser.get("/").form("/retry", "get")
    preview = browser.submit(form, key=ids[:3])

    page = browser.submit(preview.form("/retry"))

    assert "Send 3 tasks again?" in preview.words
    assert "3 of 3 sent again" in page.words
    assert len(browsing.sent(app)) == 3


def test_all_that_match_are_sent_and_nothing_that_came_later(app: Celery, browser: Browser) -> None:
    failed(app, 30)
    preview = browser.get("/retry?q=" + quote("state:FAILURE name:shop.*"))
    failed(app, 1)

    page = browser.submit(preview.form("/retry"))

    assert "Send 30 tasks again?" in preview.words
    assert "30 of 30 sent again" in page.words
    assert len(browsing.sent(app)) == 30


def test_the_audit_log_hides_the_arguments_that_were_searched_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hidden.db'}"
    with browsing.shop(url, fullresult_redact=["shop.other:amount"]) as app:
        charge(app, 2)
        browsing.sent(app)
        browser = browsing.entered(app)
        form = browser.get(f"/retry?q={quote('kwargs.amount:0.5 name:shop.charge')}").form("/retry")

        browser.submit(form)

        (entry,) = app.fullresult.audit_log(action="resend")
        assert len(browsing.sent(app)) == 1
    assert entry.details["kwargs"] == {"amount": "[redacted]"}
    assert entry.details["q"] == "name:shop.charge"


def test_what_one_request_has_no_time_for_the_next_ones_do(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page that answers has a form for the rest; each task is sent once."""
    monkeypatch.setattr(acting, "PATIENCE", 0.0)
    ids = failed(app, 7)
    page = browser.submit(browser.get("/retry?q=state:FAILURE").form("/retry"))
    requests = 1

    while any(form.action.endswith("/retry") for form in page.forms):
        page = browser.submit(page.form("/retry"))
        requests += 1

    assert requests >= 7
    assert "7 of 7 sent again" in page.words
    again = [app.fullresult.get(message["id"]).retry_of for message in browsing.sent(app)]
    assert sorted(again) == sorted(ids)


def test_of_chosen_ids_too_the_next_requests_send_the_rest(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "PATIENCE", 0.0)
    ids = failed(app, 3)
    page = browser.submit(
        browser.get("/retry?" + "&".join(f"id={task_id}" for task_id in ids)).form("/retry")
    )

    while any(form.action.endswith("/retry") for form in page.forms):
        page = browser.submit(page.form("/retry"))

    assert "3 of 3 sent again" in page.words
    assert len(browsing.sent(app)) == 3


def test_of_all_that_are_stale_those_that_moved_on_are_counted(
    app: Celery, browser: Browser
) -> None:
    ids = charge(app, 3)
    browsing.sent(app)
    link = next(each for each in browser.get("/stale?older=0s").links if "stale=" in each)
    preview = browser.get(link)
    browsing.ran(app, ids[0], "shop.charge")

    page = browser.submit(preview.form("/retry"))

    assert "2 of 3 sent again" in page.words
    assert "1 task moved on since the page was drawn, and was left alone." in page.words
    assert len(browsing.sent(app)) == 2


def test_selected_stale_tasks_that_a_worker_took_since_are_left_alone(
    app: Celery, browser: Browser
) -> None:
    """The list says how each stood, and the preview which will be left alone."""
    ids = charge(app, 2)
    browsing.sent(app)
    listed = browser.get("/stale?older=0s")
    keys = browsing.keys(listed)
    browsing.ran(app, ids[0], "shop.charge")

    preview = browser.submit(listed.form("/retry", "get"), key=keys)
    page = browser.submit(preview.form("/retry"))

    assert "left alone: it moved on meanwhile: SUCCESS" in preview.words
    assert "1 of 2 sent again, 1 left alone" in page.words
    assert len(browsing.sent(app)) == 1


def test_where_all_that_are_selected_moved_on_nothing_is_offered(
    app: Celery, browser: Browser
) -> None:
    (task_id,) = charge(app)
    listed = browser.get("/stale?older=0s")
    keys = browsing.keys(listed)
    browsing.ran(app, task_id, "shop.charge")

    preview = browser.submit(listed.form("/retry", "get"), key=keys)

    assert "It is left alone: it moved on meanwhile: SUCCESS" in preview.words
    assert not any(form.action.endswith("/retry") for form in preview.forms)


def test_all_that_are_stale_are_sent_again(app: Celery, browser: Browser) -> None:
    charge(app, 3)
    browsing.sent(app)
    link = next(each for each in browser.get("/stale?older=0s").links if "stale=" in each)

    page = browser.submit(browser.get(link).form("/retry"))

    assert "3 of 3 sent again" in page.words
    assert len(browsing.sent(app)) == 3


def test_what_cannot_be_sent_is_said_before_and_after_and_the_others_go(
    app: Celery, browser: Browser
) -> None:
    (good,) = failed(app)
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord("bare", now, now)])
    preview = browser.get(f"/retry?id=bare&id={good}&id=unknown")

    page = browser.submit(preview.form("/retry"))

    assert "cannot be sent:" in preview.words
    assert "Send 1 task again?" in preview.words
    assert "Of 3, 2 will not be sent:" in preview.words
    assert "it is not recorded (1)" in preview.words
    assert "1 of 3 sent again, 2 could not be" in page.words
    assert "its message was not recorded" in page.words
    assert "no task 'unknown' is recorded" in page.words


def test_equal_reasons_are_counted_together(app: Celery, browser: Browser) -> None:
    (good,) = failed(app)
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord(f"bare{n}", now, now) for n in range(7)])

    preview = browser.get(f"/retry?id={good}&" + "&".join(f"id=bare{n}" for n in range(7)))

    assert "Of 8, 7 will not be sent: its message was not recorded (7)" in preview.words


def test_what_cannot_be_sent_at_all_is_not_offered(app: Celery, browser: Browser) -> None:
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord(name, now, now) for name in ("bare", "empty")])

    one, both = browser.get("/retry?id=bare"), browser.get("/retry?id=bare&id=empty")

    assert "Send 0 tasks again?" in both.words
    for page in (one, both):
        assert not any(form.action.endswith("/retry") for form in page.forms)


def test_that_it_was_sent_again_already_is_said(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    app.fullresult.resend(task_id)

    page = browser.get(f"/retry?id={task_id}")

    assert "It was sent again already" in page.words


def test_a_broker_that_is_away_is_not_asked_for_every_task(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(app, 10)
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        raise OperationalError("connection refused")

    monkeypatch.setattr(app, "producer_or_acquire", refuse)

    page = browser.submit(browser.get("/retry?q=state:FAILURE").form("/retry"))

    assert len(asked) == 3
    assert "The broker does not answer." in page.words
    assert "0 of 10 sent again" in page.words


@pytest.mark.parametrize("query", ["", "q=", "q=colour:red", "stale=soon", "q=name:a&until=soon"])
def test_a_retry_of_nothing_is_a_sentence(query: str, browser: Browser) -> None:
    assert browser.get(f"/retry?{query}").status == 400


def test_what_was_sent_before_the_storage_went_away_is_told(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the form for the rest sends none of these a second time."""
    ids = failed(app, 5)
    get: Callable[[str], TaskRecord | None] = app.fullresult.storage.get
    asked: list[str] = []
    form = browser.get("/retry?" + "&".join(f"id={each}" for each in ids)).form("/retry")

    def away_after_two(task_id: str) -> TaskRecord | None:
        if len(asked) == 2:
            raise StorageError("the storage went away")
        asked.append(task_id)
        return get(task_id)

    monkeypatch.setattr(app.fullresult.storage, "get", away_after_two)
    page = browser.submit(form)
    monkeypatch.setattr(app.fullresult.storage, "get", get)
    rest = browser.submit(page.form("/retry"))

    assert "2 of 5 sent again" in page.words
    assert "the storage went away" in page.words
    assert "data-continue" not in page.text
    assert "5 of 5 sent again" in rest.words
    again = [app.fullresult.get(message["id"]).retry_of for message in browsing.sent(app)]
    assert sorted(again) == sorted(ids)


# --- edit and retry


def test_edited_arguments_are_checked_shown_and_sent(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    form = browser.get(f"/edit?id={task_id}").form("/edit")
    preview = browser.submit(form, args="[77]", queue="urgent", priority="5")

    page = browser.submit(preview.form("/edit"), send="1")

    assert "changed" in preview.words
    assert browsing.sent(app) == []
    (message,) = browsing.sent(app, "urgent")
    assert (message["args"], message["kwargs"]) == ([77], {"amount": 0})
    assert page.url.endswith(f"/task?id={message['id']}")
    record = app.fullresult.get(message["id"])
    assert (record.retry_of, record.priority, record.queue) == (task_id, 5, "urgent")


def test_an_edit_that_changes_nothing_sends_the_same_bytes(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    form = browser.get(f"/edit?id={task_id}").form("/edit")

    page = browser.submit(browser.submit(form).form("/edit"), send="1")

    new = app.fullresult.get(page.url.partition("id=")[2])
    assert new.message.body == app.fullresult.get(task_id).message.body


def test_types_that_kombu_writes_survive_an_edit(app: Celery, browser: Browser) -> None:
    when = datetime(2026, 1, 31, tzinfo=timezone.utc)
    task_id = app.send_task("elsewhere.task", kwargs={"when": when, "n": 1}).id
    browsing.sent(app)
    form = browser.get(f"/edit?id={task_id}").form("/edit")
    kwargs = json.loads(dict(form.fields)["kwargs"])
    preview = browser.submit(form, kwargs=json.dumps({**kwargs, "n": 2}))

    browser.submit(preview.form("/edit"), send="1")

    (message,) = browsing.sent(app)
    assert message["kwargs"] == {"when": when, "n": 2}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"args": "[1"}, "no JSON"),
        ({"args": '{"a": 1}'}, "must be a list"),
        ({"kwargs": "[1]"}, "must be an object"),
        ({"args": "[NaN]"}, "no JSON"),
        ({"args": "[" * 100_000}, "no JSON"),
        ({"args": "[1, 2, 3]"}, "amount"),
        ({"kwargs": '{"colour": "red"}'}, "colour"),
        ({"eta": "soon"}, "no date"),
        ({"priority": "-1"}, "whole number"),
        ({"priority": "9" * 5000}, "whole number"),
    ],
)
def test_what_the_task_would_not_take_is_said_and_not_sent(
    app: Celery, browser: Browser, fields: dict[str, str], said: str
) -> None:
    (task_id,) = failed(app)
    form = browser.get(f"/edit?id={task_id}").form("/edit")

    page = browser.submit(form, True, send="1", **fields)

    assert page.status == 400
    assert said in page.words
    assert browsing.sent(app) == []


def test_without_the_code_at_hand_arguments_are_not_checked(app: Celery, browser: Browser) -> None:
    task_id = app.send_task("elsewhere.task", (1,)).id
    browsing.sent(app)
    form = browser.get(f"/edit?id={task_id}")

    page = browser.submit(form.form("/edit"), args='["anything", 2]')

    assert "not at hand" in form.words
    assert page.status == 200


def test_arguments_that_are_redacted_have_to_be_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'redacted.db'}"
    with browsing.shop(url, fullresult_redact=["to"]) as app:
        task_id = app.send_task("shop.mail", kwargs={"to": "ada"}).id
        browser = browsing.entered(app)
        page = browser.get(f"/edit?id={task_id}")

        without = browser.submit(page.form("/edit"))
        given = browser.submit(without.form("/edit"), args="[]", kwargs='{"to": "ada"}')

    assert "[redacted]" in page.words
    assert "Put values in the places of [redacted]" in without.words
    assert without.status == 400
    assert given.status == 200


# --- scheduled


def test_a_scheduled_task_is_cancelled(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app, countdown=3600)
    page = browser.submit(browser.get(f"/cancel?id={task_id}").form("/cancel"))

    assert page.url.endswith(f"/task?id={task_id}")
    assert app.fullresult.get(task_id).state == "REVOKED"


def test_a_scheduled_task_is_moved(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app, countdown=3600)
    form = browser.get(f"/reschedule?id={task_id}").form("/reschedule")

    browser.submit(form, eta="2099-01-31T14:00")

    assert only(app, task_id).due.isoformat() == "2099-01-31T14:00:00+00:00"


def test_a_date_that_is_none_moves_nothing(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app, countdown=3600)
    before = only(app, task_id).due
    form = browser.get(f"/reschedule?id={task_id}").form("/reschedule")

    page = browser.submit(form, eta="soon")

    assert page.status == 400
    assert only(app, task_id).due == before


def test_a_selection_of_what_is_scheduled_is_cancelled_and_says_which_were_not(
    app: Celery, browser: Browser
) -> None:
    ids = charge(app, 2, countdown=3600)
    (other,) = charge(app)
    chosen = browser.submit(browser.get("/scheduled").form("/cancel", "get"), key=[*ids, other])

    page = browser.submit(chosen.form("/cancel"))

    assert "2 tasks cancelled, 1 could not be" in page.words
    assert "is not scheduled: it is PENDING" in page.words


def test_what_a_sweeper_left_claimed_is_sent_now_or_given_back(
    app: Celery, browser: Browser
) -> None:
    first, second = left_claimed(app, "a"), left_claimed(app, "b")
    browsing.sent(app)

    browser.submit(browser.get("/send-now?id=a").form("/send-now"))
    browser.submit(browser.get("/release?id=b").form("/release"))

    assert [message["id"] for message in browsing.sent(app)] == [first.task_id]
    assert not only(app, second.task_id).claimed


# --- periodic


def test_an_entry_of_beats_plan_is_shown_and_run_now(app: Celery, browser: Browser) -> None:
    entry = {"task": "shop.charge", "schedule": 3600.0, "args": (7,), "kwargs": {"amount": 3}}
    app.conf.beat_schedule = {"<hourly>": entry}
    listed = browser.get("/periodic")
    preview = browser.get("/trigger?name=" + quote("<hourly>"))

    page = browser.submit(preview.form("/trigger"))

    assert "<hourly> shop.charge every" in listed.words
    assert "none recorded" in listed.words
    (message,) = browsing.sent(app)
    assert (message["args"], message["kwargs"]) == ([7], {"amount": 3})
    assert page.url.endswith(f"/task?id={message['id']}")
    assert message["id"] in browser.get("/periodic").text


def test_an_entry_that_is_unknown_is_not_found(browser: Browser) -> None:
    assert browser.get("/trigger?name=never").status == 404


def test_a_scheduler_that_cannot_be_read_is_a_sentence(app: Celery, browser: Browser) -> None:
    app.conf.beat_scheduler = "nowhere:Scheduler"

    page = browser.get("/periodic")

    assert page.status == 502
    assert "nowhere:Scheduler" in page.words


# --- audit


def test_every_action_is_written_down_with_who_and_when(app: Celery, browser: Browser) -> None:
    (task_id,) = failed(app)
    (later,) = charge(app, countdown=3600)
    app.conf.beat_schedule = {"hourly": {"task": "shop.charge", "schedule": 3600.0, "args": (7,)}}
    edit = browser.submit(browser.get(f"/edit?id={task_id}").form("/edit"), args="[5]")
    browser.submit(edit.form("/edit"), send="1")
    browser.submit(browser.get(f"/retry?id={task_id}&id=unknown").form("/retry"))
    for verb in ("reschedule", "send-now"):
        form = browser.get(f"/{verb}?id={later}").form(f"/{verb}")
        browser.submit(form, eta="in 2h") if verb == "reschedule" else browser.submit(form)
    browser.submit(browser.get(f"/cancel?id={later}").form("/cancel"))
    browser.submit(browser.get("/trigger?name=hourly").form("/trigger"))

    entries = app.fullresult.audit_log()

    assert sorted((entry.action, entry.outcome) for entry in entries) == [
        ("cancel", "failed"),
        ("reschedule", "done"),
        ("resend", "done"),
        ("resend", "done"),
        ("resend", "failed"),
        ("resend-scheduled", "done"),
        ("trigger", "done"),
    ]
    assert all(entry.actor.endswith("(by the start-up link)") for entry in entries)
    assert ["args"] in [entry.details.get("changed") for entry in entries]
    page = browser.get(f"/audit?task_id={later}")
    assert "reschedule" in page.words
    assert "trigger" not in page.words
    assert "Who did what" in browser.get(f"/task?id={task_id}").words


def test_what_could_not_be_written_down_is_said_and_stays_done(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = failed(app)
    form = browser.get(f"/retry?id={task_id}").form("/retry")

    def full_disk(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(app.fullresult.storage, "keep_audit", full_disk)

    page = browser.submit(form)

    assert "Done, but not written down" in page.words
    assert "the disk is full" in page.words
    assert len(browsing.sent(app)) == 1


def test_the_audit_log_has_pages_and_filters(app: Celery, browser: Browser) -> None:
    for number in range(60):
        app.fullresult.audit(
            "resend",
            actor=f"somebody {number % 2}",
            task_ids=[f"t{number}"],
            details={"<b>": "<i>"},
        )

    first = browser.get("/audit?actor=somebody+1&since=1h")
    second = browser.get("/audit")
    third = browser.get(next(link for link in second.links if "after=" in link))

    assert "somebody 0" not in first.words
    assert "/task?id=t59" in second.links
    assert "/task?id=t0" in third.links
    assert "<b>" not in second.text
    assert browser.get("/audit?since=soon").status == 400
    assert browser.get("/audit?after=soon").status == 400

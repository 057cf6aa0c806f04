"""Deleting on the pages: previewed, confirmed, by the rules of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from fullresult.config.passwords import hash_password
from fullresult.web import Person, create_app
from fullresult.web.pages import delete
from tests.kit import browsing
from tests.kit.browsing import Browser, charge, failed, ran

if TYPE_CHECKING:
    from celery import Celery


def succeeded(app: Celery, number: int) -> list[str]:
    ids = charge(app, number)
    for task_id in ids:
        ran(app, task_id, "shop.charge")
    return ids


def test_what_was_selected_is_shown_and_deleted(app: Celery, browser: Browser) -> None:
    ids = [*failed(app, 2), *succeeded(app, 1)]
    offered = browsing.keys(browser.get("/?q="))

    preview = browser.get(f"/delete?key={ids[1]}&key={ids[2]}")
    nothing_yet = app.fullresult.count()
    page = browser.submit(preview.form("/delete"))

    assert sorted(offered) == sorted(ids)
    assert "Delete the records of 2 tasks?" in preview.words
    assert nothing_yet == 3
    assert "2 records deleted" in page.words
    assert [record.task_id for record in app.fullresult.find()] == [ids[0]]
    (entry,) = app.fullresult.audit_log(action="delete")
    assert entry.details["deleted"] == 2
    assert sorted(entry.details["filters"]["task_ids"]) == sorted(ids[1:])
    assert app.fullresult.audit_log(action="delete", task_id=ids[1]) == [entry]


def test_of_failures_only_what_is_dealt_with_is_deleted_unless_one_says_so(
    app: Celery, browser: Browser
) -> None:
    left, again = failed(app, 2)
    app.fullresult.resend(again)

    nothing = browser.get("/delete?q=name:shop.mail")
    preview = browser.get("/delete?q=state:FAILURE")
    browser.submit(preview.form("/delete"))

    assert nothing.status == 404
    assert "What is not dealt with stays." in preview.words
    assert app.fullresult.get(again) is None
    assert app.fullresult.get(left) is not None
    none_left = browser.get("/delete?q=state:FAILURE")
    assert (none_left.status, "resent:any finds the others" in none_left.words) == (404, True)
    browser.submit(browser.get("/delete?q=state:FAILURE+resent:any").form("/delete"))
    assert app.fullresult.get(left) is None


@pytest.mark.parametrize(
    "asked",
    [
        *("", "?q=", "?q=sort:oldest", "?q=resent:any", "?q=resent:no", "?until=1h"),
        *("?q=-state:FAILURE", "?q=-state:FAILURE+resent:no"),
    ],
)
def test_every_record_is_never_deleted_by_a_page(app: Celery, browser: Browser, asked: str) -> None:
    succeeded(app, 2)

    answer = browser.get(f"/delete{asked}")

    assert (answer.status, "Choose tasks first" in answer.words) == (400, True)
    form = browser.get("/delete?q=name:shop.charge").form("/delete")
    form.fields = [(name, "" if name == "q" else value) for name, value in form.fields]
    assert browser.submit(form).status == 400
    assert app.fullresult.count() == 2


def test_many_are_deleted_in_portions_and_none_that_came_later(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delete, "_AT_ONCE", 2)
    succeeded(app, 3)
    preview = browser.get("/delete?q=name:shop.charge")
    later = succeeded(app, 1)

    page = browser.submit(preview.form("/delete"))
    rest = browser.submit(page.form("/delete"))

    assert "2 records deleted" in page.words
    assert "3 records deleted" in rest.words
    assert rest.forms
    assert not [f for f in rest.forms if f.action.endswith("/delete")]
    assert [record.task_id for record in app.fullresult.find()] == later


def test_no_more_are_deleted_than_were_previewed(app: Celery, browser: Browser) -> None:
    (first,) = succeeded(app, 1)
    (meanwhile,) = charge(app, 1)
    preview = browser.get("/delete?q=state:SUCCESS")
    ran(app, meanwhile, "shop.charge")

    page = browser.submit(preview.form("/delete"))

    assert "Delete 1 for good" in preview.words
    assert "1 record deleted" in page.words
    assert [record.task_id for record in app.fullresult.find()] == [meanwhile]
    assert app.fullresult.get(first) is None


def test_a_reader_deletes_nothing(app: Celery) -> None:
    (task_id,) = succeeded(app, 1)
    users = {"bob": {"password": hash_password("p", n=16), "role": "reader"}}
    browser = Browser(create_app(app.fullresult, users=users))
    browser.submit(browser.get("/login").form("/login"), name="bob", password="p")

    page = browser.get(f"/delete?id={task_id}")

    assert "You may not delete records." in page.words
    assert not [form for form in page.forms if form.action.endswith("/delete")]
    assert "/delete" not in browser.get(f"/task?id={task_id}").text
    assert browser.post("/delete", {"id": task_id}).status == 403
    assert app.fullresult.count() == 1


def test_an_operator_who_may_not_delete_does_all_else(app: Celery) -> None:
    (task_id,) = succeeded(app, 1)
    grace = Person("grace", "operator", deletes=False)
    pages = create_app(app.fullresult, authenticate=lambda _: grace)
    browser = Browser(pages)
    page = browser.get(f"/task?id={task_id}")
    form = browsing.entered(app).get(f"/delete?id={task_id}").form("/delete")
    form.fields = [*form.fields, *browser.get(f"/retry?id={task_id}").form("/retry").fields]

    refused = browser.submit(form)

    assert ("Retry…" in page.words, "/delete" in page.text) == (True, False)
    assert (refused.status, "You may act but not delete" in refused.words) == (403, True)
    assert app.fullresult.count() == 1


def test_an_operator_who_may_not_send_sends_again(app: Celery) -> None:
    (task_id,) = failed(app)
    grace = Person("grace", "operator", sends=False)
    browser = Browser(create_app(app.fullresult, authenticate=lambda _: grace))
    page = browser.get("/send")
    form = browsing.entered(app).get("/send").form("/send")
    form.fields = [*form.fields, *browser.get(f"/retry?id={task_id}").form("/retry").fields]

    refused = browser.submit(form, name="shop.charge", args="[1]")

    assert "/send" not in browser.get("/").text
    assert ("You may not send" in page.words, page.forms) == (True, [])
    assert (refused.status, "You may act but not send" in refused.words) == (403, True)
    browser.submit(browser.get(f"/retry?id={task_id}").form("/retry"))
    assert len(browsing.sent(app)) == 1


def test_a_list_is_turned_round_and_no_other_order_is_taken(app: Celery, browser: Browser) -> None:
    ids = [browsing.in_turn(app) for _ in range(3)]

    newest = browser.get("/?q=name:shop.charge")
    oldest = browser.get("/?q=name:shop.charge+sort:oldest")
    refused = browser.get("/?q=sort:runtime")

    assert browsing.keys(newest) == ids[::-1]
    assert browsing.keys(oldest) == ids
    assert "/?q=sort%3Aoldest+name%3Ashop.charge" in newest.links
    assert "/?q=name%3Ashop.charge" in oldest.links
    assert "/?q=name%3Ashop.charge" in browser.get("/?q=name:shop.charge+sort:OLDEST").links
    last = app.fullresult.find(order="oldest")[-1].cursor
    nothing = browser.get(f"/?q=sort:oldest&after={quote(last)}")
    assert "No newer task matches." in nothing.words
    assert (refused.status, "no index is in this order" in refused.words) == (400, True)


def test_all_that_match_is_not_every_task_because_of_its_order(
    app: Celery, browser: Browser
) -> None:
    failed(app)

    for asked in ("sort:oldest", "resent:any", "resent:no", "-state:SUCCESS"):
        assert browser.get(f"/retry?q={asked}").status == 400
        assert "all that match" not in browser.get(f"/?q={asked}").words

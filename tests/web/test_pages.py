"""The pages to look at: what they show of real records, whatever a task put there.

Long because it has a section for each page, over the same records.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fullresult.insight import search, tally
from fullresult.insight.statistics import Counts, Percentiles
from fullresult.record import STARTED, STATES, TaskRecord
from fullresult.record.card import Card, WorkerCard
from fullresult.record.stamps import Clock
from fullresult.record.worker import Worker
from fullresult.storage import TaskQuery
from fullresult.testing import samples
from fullresult.web import charts, shown
from fullresult.web.pages import overview
from fullresult.web.site import STATIC
from fullresult.web.trees import tree_of
from tests.kit import browsing
from tests.kit.browsing import Browser, charge
from tests.kit.scheduling import overdue

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

HOUR = timedelta(hours=1)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\x1b[2J\u202egnp\x00"


def rows(text: str) -> list[str]:
    return re.findall(r'<tr id="row-([^"]+)"', text)


# --- tasks


def test_the_newest_task_comes_first_with_its_columns(app: Celery, browser: Browser) -> None:
    old, new = charge(app, 2)
    browsing.ran(app, old, "shop.charge")

    page = browser.get("/")

    assert rows(page.text) == [new, old]
    (row,) = re.findall(rf'<tr id="row-{old}">(.*?)</tr>', page.text, re.DOTALL)
    assert "shop.charge" in row
    assert "SUCCESS" in row
    assert "w1@host" in row
    assert "250 ms" in row


def test_a_search_narrows_and_stays_in_the_box(app: Celery, browser: Browser) -> None:
    failed, *_ = charge(app, 3)
    browsing.ran(app, failed, "shop.charge", KeyError("card"))

    page = browser.get("/?q=" + quote("state:failure kwargs.amount:0 since:1h card"))

    assert rows(page.text) == [failed]
    assert 'value="state:failure kwargs.amount:0 since:1h card"' in page.text


def test_a_search_that_is_not_understood_is_said_and_finds_nothing(browser: Browser) -> None:
    page = browser.get("/?q=" + quote("colour:<red>"))

    assert page.status == 400
    assert "colour: is no qualifier" in page.words
    assert 'value="colour:&lt;red&gt;"' in page.text


def test_an_id_alone_opens_its_task(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app)

    page = browser.get(f"/?q={task_id}")

    assert page.url.endswith(f"/task?id={task_id}")


def test_pages_follow_one_another_and_have_each_task_once(app: Celery, browser: Browser) -> None:
    ids = charge(app, 120)

    seen: list[str] = []
    path = "/?q=name:shop.charge"
    while path:
        page = browser.get(path)
        seen += rows(page.text)
        path = next((link for link in page.links if "after=" in link), "")

    assert sorted(seen) == sorted(ids)
    assert len(seen) == len(set(seen))


def test_a_broken_cursor_is_a_sentence(browser: Browser) -> None:
    page = browser.get("/?after=nonsense")

    assert page.status == 400
    assert "cursor" in page.words


def test_each_state_is_a_tab_that_keeps_the_search(browser: Browser) -> None:
    page = browser.get("/?q=name:shop.charge")

    for state in STATES:
        assert (
            f"/?q={quote(f'state:{state} name:shop.charge', safe='')}".replace("%20", "+")
            in page.links
        )


def test_the_pages_open_with_the_failures_that_nobody_has_dealt_with(
    app: Celery, browser: Browser
) -> None:
    (fine,) = charge(app)
    assert rows(browser.get("/").text) == [fine]

    (failed,) = browsing.failed(app)
    opened = browser.get("/")

    assert rows(opened.text) == [failed]
    assert opened.words.index("Unresolved 1") < opened.words.index("PENDING 1")
    assert 'value="state:FAILURE"' in opened.text
    assert "/?q=" in opened.links
    assert rows(browser.get("/?q=").text) == [failed, fine]
    assert rows(browser.get("/?fragment=1").text) == [failed, fine]

    app.fullresult.resend(failed)
    assert failed in rows(browser.get("/").text)
    assert "Unresolved" in browser.get("/?q=name:shop.*").words
    assert "FAILURE 1" in browser.get("/?q=state:FAILURE+resent:any").words


def test_the_fragment_for_live_lists_has_only_the_list(app: Celery, browser: Browser) -> None:
    ids = [browsing.in_turn(app) for _ in range(2)]

    page = browser.get("/?fragment=1")

    assert rows(page.text) == ids[::-1]
    assert "<html" not in page.text


def test_only_the_first_page_is_live(app: Celery, browser: Browser) -> None:
    charge(app, 60)
    first = browser.get("/")

    second = browser.get(next(link for link in first.links if "after=" in link))

    assert 'data-live="/?fragment=1"' in first.text
    assert "data-live" not in second.text


def test_the_box_suggests_qualifiers_and_what_was_seen(app: Celery, browser: Browser) -> None:
    charge(app)

    assert json.loads(browser.get("/suggest?word=na").text)[0][0] == "name:"
    assert json.loads(browser.get("/suggest?word=state:fa").text) == [["state:FAILURE", ""]]
    assert ["name:shop.charge", ""] in json.loads(browser.get("/suggest?word=name:sho").text)
    assert json.loads(browser.get("/suggest?word=kwargs.am").text) == [["kwargs.amount:", ""]]


def test_no_name_is_suggested_that_cannot_be_typed(app: Celery, browser: Browser) -> None:
    app.task(charge, name="shop.\ud800", shared=False)
    app.amqp.queues.add("shop\ud800")

    assert "\\ud800" not in browser.get("/suggest?word=name:shop").text
    assert browser.get("/suggest?word=name:shop").status == 200
    assert '<option value="shop.charge">' in browser.get("/send").text


# --- one task


def test_a_task_tells_its_timeline_runs_arguments_and_result(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app, queue="mail", priority=3)
    browsing.ran(app, task_id, "shop.charge")

    page = browser.get(f"/task?id={task_id}")

    for told in ("published by", "attempt 1 started on w1@host", "attempt 1 ended SUCCESS"):
        assert told in page.words
    assert "queue mail" in page.words
    assert "priority 3" in page.words
    assert '"total": 7' in page.words


def test_a_failed_task_tells_its_exception_and_traceback(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app)
    browsing.ran(app, task_id, "shop.charge", ValueError("card <declined>"))

    page = browser.get(f"/task?id={task_id}")

    assert "ValueError" in page.words
    assert "card &lt;declined&gt;" in page.text


def test_an_unknown_task_is_not_found(browser: Browser) -> None:
    page = browser.get("/task?id=nobody")

    assert page.status == 404
    assert "No task with this id is recorded." in page.words


def test_what_was_not_kept_says_so(app: Celery, browser: Browser) -> None:
    app.conf.fullresult_max_text = 1000
    task_id = app.send_task("shop.mail", ("x" * 5000,), {}, argsrepr="('***',)").id

    page = browser.get(f"/task?id={task_id}")

    assert "Not kept" in page.words
    assert "Not kept whole:" in page.words
    assert "&#39;***&#39;" in page.text
    assert "cannot be sent again" in page.words


def test_relatives_stand_in_a_tree_that_one_can_walk(app: Celery, browser: Browser) -> None:
    (root,) = charge(app)
    child = app.send_task("shop.mail", root_id=root, parent_id=root).id
    grandchild = app.send_task("shop.mail", root_id=root, parent_id=child).id

    page = browser.get(f"/task?id={grandchild}")

    family = page.text[page.text.index('<ul class="family">') :]
    assert family.index(root) < family.index(child) < family.index(grandchild)
    assert f"/task?id={child}" in page.links


def test_relatives_that_are_their_own_parents_are_shown_all_the_same(
    app: Celery, browser: Browser
) -> None:
    """Headers are whatever their sender says."""
    app.send_task("shop.mail", task_id="a", root_id="r", parent_id="b")
    app.send_task("shop.mail", task_id="b", root_id="r", parent_id="a")

    page = browser.get("/task?id=a")

    assert page.status == 200
    assert "/task?id=b" in page.links


def test_a_record_of_which_only_the_id_is_known_has_a_page(app: Celery, browser: Browser) -> None:
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord("bare", now, now)])

    page = browser.get("/task?id=bare")

    assert page.status == 200
    assert "unknown" in page.words


# --- hostile


def test_hostile_text_is_escaped_wherever_it_stands(app: Celery, browser: Browser) -> None:
    """In name, id, arguments, keys, queue, headers, exception: as text, never as markup."""
    task_id = f"id-{HOSTILE}"
    app.send_task(
        HOSTILE, (HOSTILE, {HOSTILE: [HOSTILE]}), {HOSTILE: HOSTILE}, task_id=task_id,
        headers={"x": HOSTILE}, argsrepr=HOSTILE, shadow=HOSTILE, queue="q<b>",
    )  # fmt: skip
    (record,) = app.fullresult.find()
    browsing.ran(app, record.task_id, HOSTILE, RuntimeError(HOSTILE))
    key = quote(record.task_id, safe="")

    for path in (
        "/", f"/task?id={key}", f"/retry?id={key}", f"/edit?id={key}", "/retry?q=id-",
        "/stale?older=0s", "/?q=" + quote(f'"{"<script>alert(1)"}"'), "/?fragment=1",
    ):  # fmt: skip
        page = browser.get(path)
        assert page.status in (200, 404), path
        assert "<script>alert" not in page.text, path
        assert "<img src=x" not in page.text, path
        assert "alert(2)&gt;49" not in page.text, path
        assert not set("\x1b\u202e\x00") & set(page.text), path


def test_a_huge_value_makes_a_small_page(app: Celery, browser: Browser) -> None:
    value = {f"key{i}": ["x" * 100] * 20 for i in range(5000)}
    task_id = app.send_task("shop.mail", (value,), {"text": "y" * 500_000}).id

    page = browser.get(f"/task?id={task_id}")

    assert "more are not shown" in page.words
    assert len(page.text) < 2_000_000


def test_a_deep_value_is_cut() -> None:
    deep: object = "bottom"
    for _ in range(150):
        deep = [deep]

    tree = tree_of(deep)

    node = tree.root
    while node.children:
        node = node.children[0]
    assert node.kind == "cut"


# --- scheduled, stale


def test_scheduled_tasks_stand_in_the_order_they_are_due(app: Celery, browser: Browser) -> None:
    (second,) = charge(app, countdown=7200)
    (first,) = charge(app, countdown=60, queue="urgent")

    page = browser.get("/scheduled")

    assert page.text.index(first) < page.text.index(second)
    assert "urgent" in page.words
    assert "waits" in page.words
    assert page.words.count("shop.charge (0, amount=0.0)") == 2
    assert 'name="eta" value="+1h"' in page.text
    moved = browser.get(f"/reschedule?id={first}&id={second}&eta=%2B1h").form("/reschedule")
    before = {each.task_id: each.due for each in app.fullresult.scheduled()}
    assert "2 tasks moved" in browser.submit(moved).words
    after = {each.task_id: each.due for each in app.fullresult.scheduled()}
    assert {after[key] - before[key] for key in before} == {timedelta(hours=1)}
    asked = browser.get(f"/cancel?id={first}&id={second}")
    assert asked.words.count("shop.charge (0, amount=0.0)") == 2


def test_a_stale_task_is_listed_once_it_is_old_enough(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app)

    now, later = browser.get("/stale?older=0s"), browser.get("/stale?older=1d")

    assert rows(now.text) == [task_id]
    assert rows(later.text) == []
    assert "None." in later.words


def test_what_is_overdue_and_not_sent_is_listed(app: Celery, browser: Browser) -> None:
    overdue(app, "late")

    page = browser.get("/stale-scheduled?older=1ms")

    assert "/task?id=late" in page.links


@pytest.mark.parametrize("page", ["stale", "stale-scheduled"])
def test_a_length_of_time_that_is_none_is_a_sentence(page: str, browser: Browser) -> None:
    answer = browser.get(f"/{page}?older=soon")

    assert answer.status == 400
    assert "not a duration" in answer.words


# --- every row


def test_a_row_says_which_call_it_is_and_of_which_queue(app: Celery, browser: Browser) -> None:
    task_id = app.send_task("shop.charge", (119, 9.99), kwargs={"card": "<b>"}).id
    app.send_task("shop.charge", argsrepr="<hidden>", kwargsrepr="{}")
    queue = app.fullresult.get(task_id).queue

    page = browser.get("/")

    assert f"shop.charge (119, 9.99, card='<b>') PENDING {queue}" in page.words
    assert "<b>" not in page.text
    assert f'title="{task_id}"' in page.text
    assert f"<bdi>{task_id[:8]}</bdi>" in page.text


def test_a_few_letters_are_searched_for_and_open_no_task(app: Celery, browser: Browser) -> None:
    app.send_task("shop.charge", task_id="1187beef-0000-4000-8000-000000000000")
    (other,) = browsing.charge(app)
    browsing.ran(app, other, "shop.charge", ValueError("order 1187 is closed"))

    short, long = browser.get("/?q=1187"), browser.get("/?q=1187beef")

    assert sorted(rows(short.text)) == sorted(["1187beef-0000-4000-8000-000000000000", other])
    assert long.url.endswith("/task?id=1187beef-0000-4000-8000-000000000000")


def test_a_screen_that_others_see_tells_no_arguments(app: Celery, browser: Browser) -> None:
    task_id = app.send_task("shop.charge", (119,), kwargs={"card": "4242"}).id
    app.conf.fullresult_web_hide_args = True
    app.fullresult.parts.settings.__dict__["web_hide_args"] = True

    assert "4242" not in browser.get("/").words
    assert "4242" not in browser.get("/stale?older=0s").words
    app.send_task("shop.charge", (121,), kwargs={"card": "4242"}, countdown=3600)
    assert "4242" not in browser.get("/scheduled").words
    app.send_task("shop.charge", (120,), kwargs={"card": "4242"})
    several = browser.get("/retry?q=name:shop.charge").words
    assert "shop.charge" in several
    assert "4242" not in several
    assert "4242" in browser.get(f"/task?id={task_id}").words


def test_a_live_page_is_not_drawn_anew_because_time_goes_by(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was unfolded would be folded, and its explanation asked for again."""
    (task_id,) = charge(app, countdown=3600)
    first = browser.get(f"/task?id={task_id}&fragment=1").text
    later = shown.now() + timedelta(minutes=7)
    monkeypatch.setattr(shown, "now", lambda: later)

    assert "SCHEDULED" in first
    assert browser.get(f"/task?id={task_id}&fragment=1").text == first


def test_the_last_attempt_stands_first_and_the_others_are_folded(
    app: Celery, browser: Browser
) -> None:
    (task_id,) = browsing.failed(app)

    page = browser.get(f"/task?id={task_id}")

    first = page.text.index('class="exception first"')
    assert first < page.text.index("<h2>Timeline</h2>")
    assert page.text.count('<details class="run" open>') == 1


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    found: float = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return found


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_what_is_behind_it(dark: bool) -> None:
    """With the contrast of WCAG AA."""
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    colours = dict(
        re.findall(r"--([\w-]+): (#\w+)", style.split(":root {")[1 + dark].split("}")[0])
    )
    pairs = [("on-main", "main"), ("card", "bad"), ("text", "line")]
    names = ("text", "dim", "link", "bad", "warn", "good", "busy", "odd")
    pairs += [(name, behind) for name in names for behind in ("back", "card", "note")]

    for pair in pairs:
        low, high = sorted(luminance(colours[name]) for name in pair)
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair


# --- overview, orphans, metrics


def test_what_needs_somebody_is_counted_for_the_navigation(app: Celery, browser: Browser) -> None:
    assert json.loads(browser.get("/counts").text) == {}
    browsing.entered(app)  # Numbers are kept for some seconds.
    overdue(app, "late", 2 * HOUR)
    browsing.failed(app, 2)

    found = json.loads(browsing.entered(app).get("/counts").text)

    assert found == {"lost": "1", "stale-scheduled": "1", "failures": "2"}


def test_the_overview_tells_what_was_done_and_what_is_late(app: Celery, browser: Browser) -> None:
    good, bad, _ = charge(app, 3)
    browsing.ran(app, good, "shop.charge")
    browsing.ran(app, bad, "shop.charge", KeyError("card"))
    overdue(app, "late", 2 * HOUR)

    page = browser.get("/overview?since=1h")

    assert "Stale scheduled 1 due and not sent" in page.words
    assert "FAILURE 1 whenever created" in page.words
    assert any(link.endswith("/?q=state%3AFAILURE+resent%3Aany") for link in page.links)
    assert "none was ever at work" in page.words
    assert re.search(r"By task .* shop.charge 4 1 1 0 ", page.words)
    assert page.text.count('<svg class="chart"') == 3
    assert 'class="bar-b"' in page.text


def test_the_overview_says_what_may_be_more_until_all_is_counted(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page asks for its fragment at once where the time was too short."""
    monkeypatch.setattr(overview, "_AT_ONCE", (-1, 500))
    monkeypatch.setattr(tally, "MOST", 100)
    charge(app, 50)

    page = browser.get("/overview?since=1h")
    later = browser.get("/overview?since=1h&fragment=1")

    assert "data-at-once" in page.text
    assert re.search(r"By task .* shop.charge 20\+ 0\+ 0\+ 0\+", page.words)
    assert re.search(r"By task .* shop.charge 50 0 0 0( |$)", later.words)
    assert "<h1>" not in later.text


def test_the_overview_of_one_task_is_of_that_alone(app: Celery, browser: Browser) -> None:
    charge(app)
    app.send_task(HOSTILE)
    hostile = quote(app.fullresult.find(limit=1)[0].name)

    page = browser.get("/overview?since=1h&name=shop.charge")
    other = browser.get(f"/overview?since=1h&name={hostile}")

    assert "Overview of shop.charge" in page.words
    assert other.status == 200
    assert "<script>alert" not in other.text


@pytest.mark.parametrize(
    ("query", "status"), [("since=soon", 400), ("since=0s", 400), ("name=nobody", 404)]
)
def test_an_overview_of_nothing_is_a_sentence(query: str, status: int, browser: Browser) -> None:
    assert browser.get(f"/overview?{query}").status == status


def test_charts_stay_in_their_frame_whatever_the_numbers() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    lengths = Percentiles(0.001, 5e6, 1e9, 3)
    buckets = [
        Counts(now, now + HOUR, n, n, n, 0, n // 2, 0, 0, lengths if n else None, None, n)
        for n in (0, 1, 10**9)
    ]

    bars = charts.throughput(buckets).bars
    lines = charts.percentiles(buckets, "wait").lines

    assert all(bar.y >= 0 and bar.y + bar.height <= charts.HEIGHT for bar in bars)
    points = [point.split(",") for _, line in lines for point in line.split()]
    assert all(0 <= float(y) <= charts.HEIGHT for _, y in points)
    assert charts.percentiles(buckets, "run").lines == []


def test_a_task_whose_worker_is_gone_is_an_orphan(app: Celery, browser: Browser) -> None:
    storage = app.fullresult.storage
    now = storage.now()
    seen = now - HOUR
    storage.note_worker(Worker("life-of-w1", "w1@<host>", seen - HOUR, seen, seen + HOUR / 100))
    outcome = samples.outcome(STARTED, now)
    tail = Clock().moment().of_worker("life-of-w1").tail
    outcome = outcome._replace(stamp=f"{outcome.stamp}{tail}", worker="w1@<host>")
    event = samples.event("lost", now, outcome=outcome, message=samples.message(now))
    storage.write([event])
    charge(app)

    page = browser.get("/orphans")

    assert rows(page.text) == ["lost"]
    assert "w1@<host> , last heard of" in page.words


def test_prometheus_reads_the_metrics(app: Celery, browser: Browser) -> None:
    (task_id,) = charge(app)
    browsing.ran(app, task_id, "shop.charge")
    app.send_task('na"me\\\n' + HOSTILE)

    page = browser.get("/metrics")

    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    assert page.headers["content-type"].startswith("text/plain")
    assert found["fullresult_tasks", "SUCCESS"] == 1
    assert found["fullresult_recent_tasks", "shop.charge", "succeeded"] == 1
    assert found["fullresult_recent_run_seconds", "0.5", "shop.charge"] == 0.25
    assert found["fullresult_sweeper_lag_seconds",] == 0


# --- workers, queues, why


def live(app: Celery, name: str, **known: Any) -> None:
    """A worker that lives, or did, and its card."""
    storage, now = app.fullresult.storage, app.fullresult.storage.now()
    worker = Worker(name, name, now, now, now + HOUR)._replace(**known)
    storage.note_worker(worker)
    card = Card(queues=("celery",), pool="prefork", processes=4, release="r<1>", host="h<1>")
    card = replace(card, namespace=app.fullresult.settings.namespace)
    storage.note_card(WorkerCard(name, now, "n", card.text), "{}")


def test_workers_are_alive_gone_or_folded_away(app: Celery, browser: Browser) -> None:
    ago = app.fullresult.storage.now() - HOUR
    live(app, "w1@<a>")
    live(app, "w2@b", date_seen=ago, alive_until=ago)
    live(app, "w3@c", date_seen=ago, date_stopped=ago)

    page = browser.get("/workers")

    assert "1 alive, 1 gone" in page.words
    assert rows(page.text) == ["w1@&lt;a&gt;", "w2@b", "w3@c"]
    assert "1 more: ended as they should" in page.words
    assert "celery prefork 4" in page.words
    assert "r<1>" in page.words
    assert 'class="bad">gone' in page.text


def test_a_queue_that_nobody_consumes_is_named_wherever_it_matters(
    app: Celery, browser: Browser
) -> None:
    sentence = "No living worker consumes archive<1>, as far as is known."
    app.send_task("shop.store", (1,), task_id="waits", queue="archive<1>")
    assert sentence not in browser.get("/task?id=waits").words

    live(app, "w1@a")
    charge(app)

    assert sentence in browser.get("/queues").words
    assert sentence in browser.get("/task?id=waits").words
    assert sentence in browser.get("/stale?older=1ms").words
    metrics = browser.get("/metrics").text
    assert 'fullresult_queue_unconsumed{queue="archive<1>"} 1.0' in metrics
    assert 'fullresult_queue_recorded{queue="archive<1>"} 1.0' in metrics
    assert 'fullresult_queue_unconsumed{queue="celery"} 0.0' in metrics
    assert "fullresult_workers_alive 1.0" in metrics
    assert "fullresult_orphaned_tasks 0.0" in metrics


def test_why_is_a_page_and_a_part_of_one(app: Celery, browser: Browser) -> None:
    app.send_task(HOSTILE, (1,), task_id="later", countdown=3600)
    task = browser.get("/task?id=later")
    assert 'data-why="/why?id=later&amp;part=1"' in task.text

    part, page = browser.get("/why?id=later&part=1"), browser.get("/why?id=later")

    assert re.match("It waits in the storage and is due in (59|1 h 00) m", part.words)
    assert "<html" not in part.text
    assert "<script>alert" not in page.text
    assert "Why?" in page.words
    assert "What to do celery -A proj fullresult reschedule later" in page.words
    assert browser.get("/why?id=nobody").status == 404


def test_the_page_of_queues_waits_for_no_broker(app: Celery, browser: Browser) -> None:
    """It shows what is recorded, and loads the rest."""
    charge(app, queue="celery")

    page, part = browser.get("/queues"), browser.get("/queues?part=1")

    assert "By the records alone: ask the broker" in page.words
    assert 'data-why="/queues?part=1"' in page.text
    assert "<html" not in part.text
    for text in (part.text, browser.get("/queues?broker=1").text):
        assert "data-why" not in text
        assert "By the records alone" not in text


def test_workers_and_orphans_are_on_the_overview(app: Celery, browser: Browser) -> None:
    ago = app.fullresult.storage.now() - HOUR
    live(app, "w1@a")
    live(app, "w2@b", date_seen=ago, alive_until=ago)

    page = browser.get("/overview")

    assert "Workers 1 alive, 1 gone" in page.words
    assert "Orphans 0 ran on a worker that is gone" in page.words


# --- when something is wrong


def test_a_storage_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        browser = browsing.entered(app)
        app.fullresult.close()
        (tmp_path / "memory.db").write_bytes(b"this is no database" * 100)
        for extra in tmp_path.glob("memory.db-*"):
            extra.unlink()

        page, health = browser.get("/"), browser.get("/healthz")

    assert page.status == 503
    assert "The storage does not answer" in page.words
    assert health.status == 503


def test_health_is_told_to_anybody_under_any_name(app: Celery) -> None:
    stranger = Browser(browsing.entered(app).app, base="http://10.0.0.7")

    page = stranger.get("/healthz")

    assert (page.status, page.text) == (200, "ok\n")
    assert "set-cookie" not in page.headers


# --- searches without an index


def test_a_search_without_an_index_finds_what_is_far_back_too(
    app: Celery, browser: Browser
) -> None:
    old = written(app, "old", days=400, name="shop.rare")
    new = written(app, "new", days=0, name="shop.rare")
    written(app, "other", days=40, name="shop.common")

    page = browser.get("/?q=rare")

    assert rows(page.text) == [new, old]
    assert "Look further back" not in page.words


def test_a_search_without_an_index_says_how_far_it_came_and_goes_on_from_there(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 2)
    new = written(app, "new", days=0, name="shop.rare")
    written(app, "between", days=1, name="shop.common")
    old = written(app, "old", days=30, name="shop.rare")
    written(app, "oldest", days=31, name="shop.common")
    first = browser.get("/?q=rare")
    nothing = browser.get("/?q=queue:nowhere")

    further = browser.get(*[link for link in first.links if "further" in link])
    nowhere = browser.get(*[link for link in nothing.links if "further" in link])

    assert rows(first.text) == [new]
    assert "tasks are looked through: 2 so far, back to" in first.words
    assert rows(further.text) == [old]
    assert rows(nothing.text) == []
    assert "tasks are looked through: 2 so far, back to" in nothing.words
    assert "No such task" not in nothing.words
    assert "No older task matches." in nowhere.words


def test_a_search_that_goes_on_is_not_begun_anew_every_few_seconds(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 1)
    for number in range(3):
        written(app, f"{number}", days=number, name="shop.common")

    assert "data-live" not in browser.get("/?q=rare").text
    assert "data-live" in browser.get("/?q=name:shop.*").text


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_a_look_in_portions_finds_each_record_once_and_in_order(
    app: Celery, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 3)
    wanted = [written(app, f"{n}", days=n * n, name="shop.rare") for n in range(20)]
    query = TaskQuery(text="RARE", limit=limit)
    found: list[str] = []

    while page := search.look(app.fullresult.storage, query):
        found += [record.task_id for record in page.records]
        if page.after is None and len(page.records) < limit:
            break
        query = replace(query, after=page.after or page.records[-1].cursor)

    assert found == wanted


def test_a_look_goes_on_while_there_is_time(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 3)
    ids = [written(app, f"{n}", days=300 + n / 100, name="shop.rare") for n in range(20)]

    found = search.look(app.fullresult.storage, TaskQuery(text="rare"), seconds=10)

    assert [record.task_id for record in found.records] == ids
    assert found.after is None


def test_a_look_keeps_to_the_time_that_was_asked_for(app: Celery) -> None:
    ids = [written(app, f"{n}", days=n, name="shop.rare") for n in range(10)]
    now = app.fullresult.storage.now()
    query = TaskQuery(
        text="rare",
        since=now - timedelta(days=6, hours=1),
        until=now - timedelta(days=2, hours=-1),
    )

    found = search.look(app.fullresult.storage, query)

    assert [record.task_id for record in found.records] == ids[2:7]
    assert found.after is None


def test_an_index_is_used_at_once(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    written(app, "old", days=400, name="shop.rare")
    asked: list[TaskQuery] = []
    find = app.fullresult.storage.find

    def note(query: TaskQuery) -> list[TaskRecord]:
        asked.append(query)
        return list(find(query))

    monkeypatch.setattr(app.fullresult.storage, "find", note)

    found = search.look(app.fullresult.storage, TaskQuery(name="shop.rare", root_id="old"))

    assert [record.task_id for record in found.records] == ["old"]
    assert len(asked) == 1


def written(app: Celery, task_id: str, *, days: float, name: str) -> str:
    """A record that old."""
    created = app.fullresult.storage.now() - timedelta(days=days)
    task = samples.task(task_id, state="PENDING")
    assert task.message is not None
    message = task.message._replace(name=name, root_id=task_id)
    app.fullresult.storage.write(
        [replace(task, date_created=created, date_updated=created, message=message)]
    )
    return task_id

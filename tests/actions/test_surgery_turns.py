"""Turns at a workflow: of all who would go on with it, one does, and what died is seen.

Long because each moment at which a process may die, or a part be away, has its test.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord
from celery.app.task import Context
from celery.signals import before_task_publish

from fullresult import CannotResend, FullResult
from fullresult.actions.audit import Actor
from fullresult.insight.surgery import healing
from fullresult.storage import StorageError
from fullresult.testing import samples
from tests.kit import browsing, other_results, servers, workers
from tests.kit.commands import run
from tests.kit.doors import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVERY = workers.storages("sqlite", "postgresql", "mongodb", slow=("mongodb",))


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with workers.storage(getattr(request, "param", "sqlite"), request, tmp_path) as url:
        yield url


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    with browsing.shop(url, result_backend="fullresult://") as app:
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


def charge(app: Celery, *args: Any) -> Any:
    return app.signature("shop.charge", args=args)


def ended(app: Celery, task_id: str, state: str, **known: Any) -> None:
    known |= {"date_started": samples.NOON, "worker": "w1@host"}
    app.fullresult.storage.write([samples.became(task_id, state, **known)])


def chain_of(app: Celery) -> str:
    """The first step of a chain of three, which failed."""
    last = chain(charge(app, 1), charge(app), charge(app)).apply_async()
    first = str(last.parent.parent.id)
    ended(app, first, "FAILURE", exception_type="OSError")
    browsing.sent(app)
    return first


def chord_of(app: Celery) -> list[str]:
    """The members of a chord of three; the first two failed."""
    result = chord([charge(app, 1), charge(app, 2), charge(app, 3)], charge(app)).apply_async()
    members = [str(each.id) for each in result.parent.results]
    for member in members[:2]:
        ended(app, member, "FAILURE")
    ended(app, members[2], "SUCCESS", result="3", result_form="json")
    browsing.sent(app)
    return members


def log_of(full: FullResult, task_id: str) -> list[tuple[str, str, str]]:
    """(actor, action, outcome) of each entry, the oldest first."""
    entries = reversed(full.audit_log(task_id=task_id))
    return [(each.actor, each.action, each.outcome) for each in entries]


def operating(full: FullResult, name: str, *asked: Any, **arguments: Any) -> Any:
    return full.operating(Actor(name, "python", "a-host"), *asked, **arguments)


def taking_over(full: FullResult, name: str, *asked: Any) -> Any:
    """An operation whose plan was looked at, though somebody began and has not ended."""
    surgery = operating(full, name, *asked)
    surgery.plan(take_over=True)
    return surgery


def at_once(deeds: list[Callable[[], object]]) -> list[object]:
    """What each deed returned or raised; all begin at the same moment."""
    barrier = Barrier(len(deeds))

    def do(deed: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return deed()
        except CannotResend as error:
            return error

    with ThreadPoolExecutor(len(deeds)) as threads:
        return [*threads.map(do, deeds)]


@pytest.mark.parametrize("url", EVERY, indirect=True)
def test_of_many_at_the_same_moment_one_goes_on_with_a_chain(app: Celery, full: FullResult) -> None:
    step = chain_of(app)
    deeds = [operating(full, f"p{number}", step, "resume").run for number in range(6)]

    done = at_once(deeds)

    assert len(browsing.sent(app)) == 1
    refused = [str(each) for each in done if isinstance(each, CannotResend)]
    assert len(refused) == 5
    begun, done_by = (entry[0] for entry in log_of(full, step) if entry[2] in ("begun", "done"))
    assert begun == done_by
    for each in refused:
        told = f"was begun by {begun} (python, host a-host, process {os.getpid()}) at"
        assert told in each or "was sent again as" in each


@pytest.mark.parametrize("url", EVERY, indirect=True)
def test_of_many_at_the_same_moment_one_heals_whichever_member_they_name(
    app: Celery, full: FullResult
) -> None:
    one, two, _ = chord_of(app)
    group_id = full.get(one).group_id  # type: ignore[union-attr]
    asked = enumerate([one, two, group_id] * 2)
    deeds = [operating(full, f"p{n}", each, "heal").run for n, each in asked]

    at_once(deeds)

    # Two members that run again, and one whose result is kept.
    assert len(browsing.sent(app)) == 3
    assert [len(full.find(retry_of=each)) for each in (one, two)] == [1, 1]


def test_a_chord_of_known_results_is_healed_once_until_somebody_takes_over(
    app: Celery, full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its body was lost. The tasks that stand for the results may wait in a queue for long."""
    monkeypatch.setattr(healing, "_SOON", timedelta())
    members = chord_of(app)
    for member in members[:2]:
        ended(app, member, "SUCCESS", result="1", result_form="json")
    operating(full, "one", members[0], "heal").run()

    plan = operating(full, "two", members[1], "heal").plan()

    assert plan.problem is not None
    assert "one (python, host a-host" in plan.problem
    assert plan.instead == f"heal {members[1]} --take-over 1"
    with pytest.raises(CannotResend, match="healed it"):
        operating(full, "two", members[1], "heal").run()
    assert len(browsing.sent(app)) == 3
    taking_over(full, "two", members[1], "heal").run(take_over=True)
    assert len(browsing.sent(app)) == 3


def test_the_chord_that_was_healed_is_no_longer_mended(app: Celery, full: FullResult) -> None:
    """A worker would count a member that was left out, and send the body, too."""
    members = chord_of(app)
    group_id = str(full.get(members[0]).group_id)  # type: ignore[union-attr]
    storage: Any = full.storage
    later = storage.now() + timedelta(hours=1)
    assert [each.chord_id for each in storage.take_quiet_chords(later, 9)] == [group_id]

    full.surgery(members[0], "heal").run()

    quiet = storage.take_quiet_chords(later + timedelta(hours=1), 9)
    assert group_id not in [each.chord_id for each in quiet]


def test_a_task_without_later_steps_goes_on_once_whichever_re_send_is_named(
    app: Celery, full: FullResult
) -> None:
    (first,) = browsing.failed(app)
    again = str(operating(full, "one", first, "resume").run().id)
    ended(app, again, "FAILURE")
    last = str(operating(full, "one", again, "resume").run().id)
    ended(app, last, "SUCCESS")

    for task_id in (first, again):
        with pytest.raises(CannotResend):
            operating(full, "two", task_id, "resume").run()


def test_whoever_saw_an_older_plan_sends_nothing(app: Celery, full: FullResult) -> None:
    step = chain_of(app)
    late = operating(full, "bob", step, "fork")
    late.plan()
    operating(full, "ada", step, "fork").run()
    browsing.sent(app)

    with pytest.raises(CannotResend, match=r"fork of this workflow was begun by ada \(python"):
        late.run()

    assert browsing.sent(app) == []
    assert log_of(full, step)[-1] == ("bob", "fork", "failed")
    assert late.plan().problem is None
    late.run()
    assert len(browsing.sent(app)) == 1


def test_a_page_that_was_shown_before_sends_nothing(app: Celery, full: FullResult) -> None:
    step = chain_of(app)
    browser = Pages(app).browser
    form = browser.get(f"/surgery?id={step}&how=fork").form("/surgery")
    operating(full, "ada", step, "fork").run()
    browsing.sent(app)

    answer = browser.submit(form)

    assert answer.status == 409
    assert "Nothing was sent: fork of this workflow was begun by ada" in answer.words
    assert browsing.sent(app) == []


def dying(moment: str, app: Celery) -> None:
    """Have this process, a child, die: once its turn is "begun", "halfway", or when all is sent."""
    storage, keep = app.fullresult.storage, app.fullresult.storage.keep_audit

    def die(entry: Any) -> None:
        if moment == "sent" and entry.outcome != "begun":
            os._exit(9)
        keep(entry)
        if moment == "begun":
            os._exit(9)

    storage.keep_audit = die
    if moment == "halfway":
        published: list[None] = []

        def die_at_the_second(**_: Any) -> None:
            published.append(None)
            if len(published) == 2:
                os._exit(9)

        before_task_publish.connect(die_at_the_second, weak=False)


def killed(
    moment: str, app: Celery, task_id: str, how: Any, name: str = "ada", *, take_over: bool = False
) -> None:
    """Have a process of *name*'s die in the middle of *how*."""
    child = os.fork()
    if child == 0:
        try:
            dying(moment, app)
            begin = taking_over if take_over else operating
            begin(app.fullresult, name, task_id, how).run(take_over=take_over)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9


@pytest.mark.parametrize("url", EVERY, indirect=True)
def test_what_died_before_it_sent_is_seen_and_taken_over(app: Celery, full: FullResult) -> None:
    step = chain_of(app)
    killed("begun", app, step, "resume")

    shown = run(app, "resume", step, "--yes")

    assert shown.exit_code == 1
    assert "resume of this workflow was begun by ada (python, host a-host, process " in shown.stderr
    assert "has not ended" in shown.stderr
    assert f"resume {step} --take-over 1 can be done instead" in shown.stderr
    assert log_of(full, step) == [("ada", "resume", "begun")]

    done = run(app, "resume", step, "--yes", "--take-over", "1")

    assert done.exit_code == 0, done.stderr
    assert [each["id"] for each in browsing.sent(app)] == done.stdout.split()
    assert [outcome for *_, outcome in log_of(full, step)] == ["begun", "begun", "done"]


def test_what_died_when_all_was_sent_is_not_sent_again(app: Celery, full: FullResult) -> None:
    step = chain_of(app)
    killed("sent", app, step, "resume")

    with pytest.raises(CannotResend, match="was sent again as"):
        taking_over(full, "two", step, "resume").run(take_over=True)

    assert browsing.sent(app) == []
    assert log_of(full, step)[0] == ("ada", "resume", "begun")


def test_what_died_halfway_goes_on_with_what_was_sent(app: Celery, full: FullResult) -> None:
    one, two, _ = chord_of(app)
    killed("halfway", app, one, "heal")
    (first,) = full.find(retry_of=one)

    waiting = full.surgery(one, "heal").plan(take_over=True)
    ended(app, first.task_id, "FAILURE", at=samples.after(5))
    taking_over(full, "two", two, "heal").run(take_over=True)

    assert waiting.problem == f"member {first.task_id} is PENDING: it has not ended"
    assert len(full.find(retry_of=first.task_id)) == len(full.find(retry_of=two)) == 1
    assert len(browsing.sent(app)) == 3


def test_of_many_who_take_over_one_does(app: Celery, full: FullResult) -> None:
    one, two, _ = chord_of(app)
    killed("begun", app, one, "heal")

    def taking(name: str, task_id: str) -> Callable[[], object]:
        surgery = taking_over(full, name, task_id, "heal")
        return lambda: surgery.run(take_over=True)

    at_once([taking("bob", one), taking("eve", two), taking("joe", one)])

    assert len(full.find(retry_of=two)) == 1
    assert len(browsing.sent(app)) == 3


@pytest.mark.parametrize("door", ["python", "command line", "page"])
def test_a_turn_that_nobody_looked_at_is_not_taken_over(
    app: Celery, full: FullResult, door: str
) -> None:
    """Ada died in turn 1. Bob took it over and still sends; eve means ada's turn."""
    one, *_ = chord_of(app)
    killed("begun", app, one, "heal")
    refused = run(app, "heal", one, "--yes").stderr
    browser = Pages(app).browser
    form = browser.get(f"/surgery?id={one}&how=heal").form("/surgery")
    killed("begun", app, one, "heal", name="bob", take_over=True)

    if door == "python":
        with pytest.raises(CannotResend, match="was not looked at"):
            operating(full, "eve", one, "heal").run(take_over=True)
    elif door == "page":
        answer = browser.submit(form)
        assert answer.status == 409
        assert "heal of this workflow was begun by bob" in answer.words
    else:
        assert f"heal {one} --take-over 1 can be done instead" in refused
        late = run(app, "heal", one, "--yes", "--take-over", "1")
        assert late.exit_code == 1
        assert "heal of this workflow was begun by bob" in late.stderr

    assert browsing.sent(app) == []
    outcomes = [(actor, outcome) for actor, _, outcome in log_of(full, one)]
    assert outcomes[:2] == [("ada", "begun"), ("bob", "begun")]
    assert [outcome for _, outcome in outcomes[2:]] == ["failed"]


def test_a_page_offers_to_take_over(app: Celery) -> None:
    one, *_ = chord_of(app)
    killed("begun", app, one, "heal")
    browser = Pages(app).browser

    preview = browser.get(f"/surgery?id={one}&how=heal")
    answer = browser.submit(preview.form("/surgery"))

    assert "heal of this workflow was begun by ada" in preview.words
    assert "Take over: Retry in its chord" in preview.words
    assert answer.status == 200
    assert len(browsing.sent(app)) == 3


KINDS = ("fullresult://", "file")


@pytest.mark.parametrize("backend", KINDS)
def test_a_broker_that_refuses_costs_no_error_of_the_backend(
    backend: str, url: str, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    place = f"file://{tmp_path}/results" if backend == "file" else backend
    with browsing.shop(url, result_backend=place) as app:
        step = chain_of(app)
        later = app.fullresult.surgery(step, "resume").plan().forget
        embed = app.fullresult.get(step).embed
        request = Context({"id": step, "task": "shop.charge", "chain": embed["chain"]})
        app.backend.mark_as_failure(step, OSError("no disk"), request=request)
        told = [app.backend.get_task_meta(each)["status"] for each in later]
        records = [app.fullresult.get(each) for each in later]
        broker = f"redis://127.0.0.1:{servers.free_port()}/0"
        away = {"broker_url": broker, "task_publish_retry": False}

        with browsing.shop(url, result_backend=place, **away) as other:
            with pytest.raises(Exception, match="refused"):
                other.fullresult.surgery(step, "resume").run()

            kept = [other.backend.get_task_meta(each)["status"] for each in later]
        assert told == kept == ["FAILURE", "FAILURE"]
        assert [app.fullresult.get(each) for each in later] == records
        outcomes = [outcome for *_, outcome in log_of(app.fullresult, step)]
        assert outcomes == ["begun", "failed"]


def test_what_was_sent_in_place_of_the_same_task_is_seen(app: Celery, full: FullResult) -> None:
    """Of two that were sent in its place, and are of one chain, one goes on."""
    step = chain_of(app)
    failed = full.surgery(step, "resume").run().id
    ended(app, failed, "FAILURE", at=samples.after(5))
    waiting = full.surgery(step, "resume").run().id

    problem = full.surgery(failed, "resume").plan().problem

    assert problem == f"task {step} was sent again as {waiting}, which is PENDING"


def test_a_chord_that_failed_again_is_healed_from_any_of_its_tasks_once(
    app: Celery, full: FullResult
) -> None:
    one, two, _ = chord_of(app)
    full.surgery(one, "heal").run()
    again = [full.find(retry_of=each)[0].task_id for each in (one, two)]
    (known,) = full.find(name="celery.accumulate")
    ended(app, known.task_id, "SUCCESS", at=samples.after(5), result="3", result_form="json")
    ended(app, again[0], "SUCCESS", at=samples.after(5), result="1", result_form="json")
    ended(app, again[1], "FAILURE", at=samples.after(5))
    asked = [one, two, *again, known.task_id, str(known.group_id)]

    plans = [full.surgery(each, "heal").plan() for each in asked]
    full.surgery(known.task_id, "heal").run()
    later = [full.surgery(each, "heal").plan().problem for each in asked]

    told = [[(part.fate, part.task_id) for part in plan.parts[:2]] for plan in plans]
    assert told == [[("kept", again[0]), ("again", again[1])]] * len(asked)
    (third,) = full.find(retry_of=again[1])
    assert later == [f"member {third.task_id} is PENDING: it has not ended"] * len(asked)


def test_a_member_that_was_sent_and_is_not_recorded_yet_is_not_sent_again(
    app: Celery, full: FullResult
) -> None:
    """Its record, and the mark that it was sent, wait in the spool of the process that healed."""
    one, two, _ = chord_of(app)
    before = full.get(one)
    assert before is not None
    full.surgery(one, "heal").run()
    first, second = (full.find(retry_of=each)[0].task_id for each in (one, two))
    (known,) = full.find(name="celery.accumulate")
    full.delete(task_ids=[one, first])
    full.storage.write([before])
    ended(app, known.task_id, "SUCCESS", at=samples.after(5), result="3", result_form="json")
    ended(app, second, "FAILURE", at=samples.after(5))

    problem = full.surgery(two, "heal").plan().problem

    assert problem is not None
    assert f"sent it as {first}, which is not recorded" in problem


def test_a_body_that_is_about_to_be_sent_is_not_sent(app: Celery, full: FullResult) -> None:
    """The last member, sent again twice, has succeeded at this moment."""
    one, two, _ = chord_of(app)
    full.surgery(one, "heal").run()
    ended(app, full.find(retry_of=two)[0].task_id, "SUCCESS", result="2", result_form="json")
    (again,) = full.find(retry_of=one)
    ended(app, again.task_id, "FAILURE", at=samples.after(5))
    full.surgery(one, "heal").run()
    (third,) = full.find(retry_of=again.task_id)
    now = full.storage.now()
    ended(app, third.task_id, "SUCCESS", at=now, result="1", result_form="json")

    problem = full.surgery(one, "heal").plan().problem

    assert problem == "all members have succeeded a moment ago: the body is about to be sent"


HOSTILE = {
    "a place far away": ({"task": "x", "options": {"task_id": "b"}}, None, 10**9),
    "no place": ({"task": "x", "options": {"task_id": "b"}}, None, -5),
    "a chord of text": ("text", None, 0),
    "a chain of text": (None, "abc", 0),
    "steps that are none": (None, [1, None, {"options": {"chord": 7, "group_id": [1]}}], 0),
    "options of text": ({"task": "x", "options": "x"}, None, 0),
    "a group of text": ({"subtask_type": "group", "kwargs": {"tasks": "abc"}}, None, 0),
    "the chord it is in": (
        {"options": {"task_id": "b", "chord": {"options": {}}, "group_id": "g", "group_index": 0}},
        *(None, 0),
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_message_that_is_no_workflow_is_planned_or_refused(
    app: Celery, full: FullResult, case: str
) -> None:
    body, steps, place = HOSTILE[case]
    known = {"chord": body, "chain": steps, "group_id": "g", "group_index": place}
    app.send_task("shop.charge", (1,), task_id="odd", **known)
    ended(app, "odd", "FAILURE")

    plans = [full.surgery("odd", how).plan() for how in ("resume", "heal", "fork")]

    assert all(plan.problem or plan.parts for plan in plans)
    assert all(plan.header for plan in plans if plan.problem is None and plan.how == "heal")


def test_tasks_that_were_sent_instead_of_each_other_are_not_followed_for_ever(
    app: Celery, full: FullResult
) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        chord = {"task": "x", "options": {"task_id": "body"}}
        known = {"chord": chord, "group_id": "g", "group_index": 0}
        headers = {"fullresult_retry_of": other}
        app.send_task("shop.charge", (1,), task_id=one, headers=headers, **known)
        ended(app, one, "FAILURE")

    assert "was sent again too often" in str(full.surgery("a", "heal").plan().problem)


def test_a_chain_of_thousands_of_steps_goes_on(app: Celery, full: FullResult) -> None:
    first = last = chain(charge(app, 1), *[charge(app) for _ in range(1_500)]).apply_async()
    while first.parent is not None:
        first = first.parent
    ended(app, first.id, "FAILURE")

    full.surgery(first.id, "resume").run()

    (again,) = full.find(retry_of=first.id)
    assert len(again.embed["chain"]) == 1_500
    assert again.embed["chain"][0]["options"]["task_id"] == last.id


def test_a_pattern_that_hides_ids_is_not_in_the_way(tmp_path: Path) -> None:
    """One for the numbers of cards may match an id; turns are taken and ended in spite of it."""
    hiding = {"fullresult_redact": [re.compile(r"[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")]}
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", **hiding) as app:
        full: FullResult = app.fullresult
        step = str(charge(app, 1).apply_async().id)
        ended(app, step, "FAILURE")
        first = full.surgery(step, "resume").run().id
        ended(app, first, "FAILURE", at=samples.after(5))

        full.surgery(step, "resume").run()

        assert [outcome for *_, outcome in log_of(full, step)] == ["begun", "done"] * 2
        assert first not in str(full.audit_log(task_id=step)[2].details)


def test_a_backend_that_does_not_answer_is_said(tmp_path: Path) -> None:
    """One that counts no members, and so is asked if the chord has failed."""
    place = other_results.database(tmp_path / "results.db")
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", result_backend=place) as app:
        one, *_ = chord_of(app)
        polled = app.fullresult.surgery(one, "heal").plan()
        app.backend.ResultSession().close()
        app.backend.url = f"sqlite:///{tmp_path}/no/results.db"

        away = app.fullresult.surgery(one, "heal").plan()

        assert "the chord has not failed yet: the task that polls" in str(polled.problem)
        assert str(away.problem).startswith("the result backend does not answer: ")
        assert browsing.sent(app) == []


def test_a_storage_that_is_away_has_nothing_sent(tmp_path: Path) -> None:
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", result_backend="fullresult://") as app:
        step = chain_of(app)
        surgery = app.fullresult.surgery(step, "resume")
        assert surgery.plan().problem is None
        app.fullresult.close()
        (tmp_path / "a.db").rename(tmp_path / "gone.db")
        (tmp_path / "a.db").mkdir()

        with pytest.raises(StorageError):
            surgery.run()

        assert browsing.sent(app) == []

"""Surgery from the command line and the pages: the plan first, then the deed, in the audit log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain, chord

from fullresult import FullResult, TaskQuery
from fullresult.testing import samples
from tests.kit import browsing, workers
from tests.kit.commands import run
from tests.kit.doors import Pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=workers.storages("sqlite"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with (
        workers.storage(request.param, request, tmp_path) as url,
        browsing.shop(url, result_backend="fullresult://") as app,
    ):
        yield app


@pytest.fixture
def full(app: Celery) -> FullResult:
    found: FullResult = app.fullresult
    return found


def charge(app: Celery, *args: Any, **options: Any) -> Any:
    return app.signature("shop.charge", args=args, **options)


def ended(full: FullResult, task_id: str, state: str, **known: Any) -> None:
    known |= {"date_started": samples.NOON, "worker": "w1@host"}
    full.storage.write([samples.became(task_id, state, **known)])


@pytest.fixture
def broken(app: Celery, full: FullResult) -> str:
    """The first step of a chain of three, which failed."""
    last = chain(charge(app, 1), charge(app), charge(app)).apply_async()
    first = str(last.parent.parent.id)
    ended(full, first, "FAILURE", exception_type="OSError")
    return first


def sent(app: Celery) -> list[str]:
    return [message["id"] for message in browsing.sent(app)]


def test_a_dry_run_shows_the_plan_and_sends_nothing(app: Celery, broken: str) -> None:
    sent(app)

    result = run(app, "resume", broken, "--dry-run")

    assert result.exit_code == 0, result.stderr
    assert f"↻* shop.charge  {broken}  runs again" in result.stdout
    assert result.stdout.count("→  shop.charge") == 2
    assert sent(app) == []


def test_a_command_asks_and_sends(app: Celery, full: FullResult, broken: str) -> None:
    sent(app)

    refused = run(app, "resume", broken, answer="n\n")
    assert refused.exit_code == 1
    assert sent(app) == []

    result = run(app, "resume", broken, "--yes")

    (new,) = sent(app)
    assert result.stdout.split() == [new]
    assert full.get(new).retry_of == broken  # type: ignore[union-attr]
    done, begun = full.audit_log(action="resume", task_id=broken)
    assert (begun.outcome, done.outcome) == ("begun", "done")
    assert done.details["new_ids"] == {broken: new}


def test_a_plan_as_json(app: Celery, broken: str) -> None:
    result = run(app, "resume", broken, "--dry-run", "--json")

    plan = json.loads(result.stdout)
    assert (plan["operation"], plan["task_id"], plan["problem"]) == ("resume", broken, None)
    assert [part["fate"] for part in plan["parts"]] == ["again", "first", "first"]


def test_what_cannot_be_done_is_said_with_what_can(app: Celery, full: FullResult) -> None:
    done = chain(charge(app, 1), charge(app)).apply_async().parent.id
    ended(full, done, "SUCCESS")

    result = run(app, "resume", done)

    assert result.exit_code == 1
    assert f"succeeded: nothing broke there; fork {done} can be done instead" in result.stderr


def test_a_fork_has_new_arguments(app: Celery, full: FullResult, broken: str) -> None:
    sent(app)

    result = run(app, "fork", broken, "--arg", "0=7", "--kwarg", "currency=EUR", "--yes")

    assert result.exit_code == 0, result.stderr
    record = full.get(sent(app)[0])
    assert record is not None
    assert (record.args, record.kwargs) == ([7], {"currency": "EUR"})
    old = {step["options"]["task_id"] for step in full.get(broken).embed["chain"]}  # type: ignore[union-attr]
    assert old.isdisjoint(step["options"]["task_id"] for step in record.embed["chain"])
    wrong = run(app, "fork", broken, "--arg", "5=1")
    assert wrong.exit_code == 2
    assert "there are 1 argument" in wrong.stderr


def test_an_unknown_id(app: Celery) -> None:
    result = run(app, "heal", "nobody")

    assert result.exit_code == 1
    assert "no task 'nobody' is recorded, nor a group" in result.stderr


def test_a_page_shows_the_plan_and_acts_once(app: Celery, full: FullResult, broken: str) -> None:
    sent(app)
    browser = Pages(app).browser
    page = browser.get(f"/task?id={broken}")
    (link,) = (each for each in page.links if "how=resume" in each)

    preview = browser.get(link)
    answer = browser.submit(preview.form("/surgery"))

    assert "runs again under a new id" in preview.words
    (new,) = sent(app)
    assert new in answer.words
    assert browser.submit(preview.form("/surgery")).status == 409
    entries = full.audit_log(action="resume")
    assert [(each.outcome, each.details["by"]) for each in entries] == [
        ("done", "web"),
        ("begun", "web"),
    ]


def test_a_page_offers_to_heal_a_member_and_says_what_is_in_the_way(
    app: Celery, full: FullResult
) -> None:
    result = chord([charge(app, 1), charge(app, 2)], charge(app)).apply_async()
    one, two = (str(each.id) for each in result.parent.results)
    ended(full, one, "FAILURE")
    browser = Pages(app).browser
    page = browser.get(f"/task?id={one}")

    (link,) = (each for each in page.links if "how=heal" in each)
    preview = browser.get(link)

    assert f"member {two} is PENDING: it has not ended" in preview.words
    assert not [form for form in preview.forms if form.action.startswith("/surgery")]
    retry = browser.get(f"/retry?id={one}")
    assert f"`heal {one}` runs it" in retry.words


def test_a_preview_of_a_resend_names_the_operation_that_is_meant(
    app: Celery, full: FullResult
) -> None:
    done = chain(charge(app, 1), charge(app)).apply_async().parent.id
    ended(full, done, "SUCCESS")

    result = run(app, "resend", done, "--dry-run")

    assert f"`fork {done}` runs them under new ones" in result.stderr


Chord = tuple[str, list[str]]


def chord_of(app: Celery, full: FullResult, *members: Any, body: Any = None) -> Chord:
    """The body and the members of a chord; the first failed, and the others succeeded."""
    result = chord(list(members), body or charge(app)).apply_async()
    ids = [str(each.id) for each in result.parent.results]
    ended(full, ids[0], "FAILURE")
    for other in ids[1:]:
        ended(full, other, "SUCCESS", result="5", result_form="json")
    return str(result.id), ids


def problem_of(full: FullResult, task_id: str) -> str | None:
    problem: str | None = full.surgery(task_id, "heal").plan().problem
    return problem


def test_a_result_that_is_not_known_is_no_value(app: Celery, full: FullResult) -> None:
    """A member whose result was ignored may have returned anything: the body gets no None."""
    _, (bad, sound) = chord_of(app, full, charge(app, 1), charge(app, 2))
    assert problem_of(full, bad) is None

    ended(full, sound, "SUCCESS", at=samples.after(5))
    later = "send it again, and heal when that has succeeded"
    assert problem_of(full, bad) == f"the result of task {sound} was not kept: {later}"

    hidden = {"result": '{"card": "[redacted]"}', "result_form": "json"}
    ended(full, sound, "SUCCESS", at=samples.after(9), **hidden)
    assert problem_of(full, bad) == f"a part of the result of task {sound} is redacted: {later}"

    again = full.resend(sound).id
    ended(full, again, "SUCCESS", result="5", result_form="json")
    (_, known) = full.surgery(bad, "heal").plan().parts[:2]
    assert (known.fate, known.task_id) == ("kept", again)


def test_a_member_that_cannot_run_again_is_healed_by_a_resend_with_its_arguments(
    tmp_path: Path,
) -> None:
    hiding: dict[str, Any] = {"fullresult_redact": ["amount"], "result_backend": "fullresult://"}
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", **hiding) as app:
        full: FullResult = app.fullresult
        first = app.signature("shop.charge", args=(1,), kwargs={"amount": 3})
        result = chord([first, charge(app, 2)], charge(app)).apply_async()
        bad, other = (str(each.id) for each in result.parent.results)
        for member in (bad, other):
            ended(full, member, "FAILURE")
        told = str(problem_of(full, bad))

        again = full.resend(bad, args=[1], kwargs={}).id
        ended(full, again, "SUCCESS", result="7", result_form="json")

        assert "is redacted: it cannot run again; with new arguments, in Python" in told
        assert problem_of(full, bad) is None
        parts = full.surgery(bad, "heal").plan().parts
        assert [(part.fate, part.task_id) for part in parts[:2]] == [
            ("kept", again),
            ("again", other),
        ]


def test_a_body_that_takes_no_results_needs_none(app: Celery, full: FullResult) -> None:
    body = app.signature("shop.charge", args=(9,), immutable=True)
    _, (bad, cut) = chord_of(app, full, charge(app, 1), charge(app, 2), body=body)

    ended(full, cut, "SUCCESS", at=samples.after(5))

    assert problem_of(full, bad) is None


def test_a_redacted_body_is_not_sent(app: Celery, full: FullResult) -> None:
    body = app.signature("shop.charge", kwargs={"amount": "[redacted]"})
    _, (bad, _) = chord_of(app, full, charge(app, 1), charge(app, 2), body=body)

    assert problem_of(full, bad) == "a part of the body is redacted: it cannot run"


def test_a_body_that_waits_for_its_eta_was_sent(app: Celery, full: FullResult) -> None:
    body, (bad, _) = chord_of(app, full, charge(app, 1), charge(app, 2))

    charge(app, 9).set(task_id=body).apply_async(countdown=3600)

    assert full.get(body).state == "SCHEDULED"  # type: ignore[union-attr]
    assert f"({body}), which comes later, was sent already: it is SCHEDULED" in str(
        problem_of(full, bad)
    )


def test_a_resend_whose_record_is_deleted_is_not_forgotten(full: FullResult, broken: str) -> None:
    new = full.surgery(broken, "resume").run().id
    ended(full, new, "SUCCESS")
    full.delete(task_ids=[new])

    plan = full.surgery(broken, "resume").plan()

    assert plan.problem == f"task {broken} was sent again as {new}, which is not recorded"
    assert plan.instead == f"fork {broken}"


def test_a_size_that_no_message_tells_is_said(tmp_path: Path) -> None:
    """With most result backends, a last member without a record is not missed."""
    with browsing.shop(f"sqlite:///{tmp_path}/a.db", result_backend="cache+memory://") as app:
        full: FullResult = app.fullresult
        _, (bad, _, last) = chord_of(app, full, charge(app, 1), charge(app, 2), charge(app, 3))

        full.delete(task_ids=[last])

        warnings = full.surgery(bad, "heal").plan().warnings
        assert "The size of the chord is not recorded: 2 members are" in warnings[1]


def test_a_member_runs_again_with_its_headers(app: Celery, full: FullResult) -> None:
    """Those of the application: a tenant, say, without which the task would act for another."""
    first = charge(app, 1).set(headers={"tenant": "acme"})
    _, (bad, _) = chord_of(app, full, first, charge(app, 2))
    sent(app)

    full.surgery(bad, "heal").run()

    (again,) = full.find(retry_of=bad)
    assert (again.headers["tenant"], again.headers["id"]) == ("acme", again.task_id)
    others = [each.headers for each in full.find(name="celery.accumulate")]
    assert [each.get("tenant") for each in others] == [None]


def test_arguments_that_json_changes_are_told(app: Celery, full: FullResult) -> None:
    def warnings(serializer: str) -> str:
        first = charge(app, {7: 100}).set(serializer=serializer)
        _, (bad, _) = chord_of(app, full, first, charge(app, 2))
        return " ".join(full.surgery(bad, "heal").plan().warnings)

    assert "Arguments that were pickled are sent as JSON has them" in warnings("pickle")
    assert "pickled" not in warnings("json")


def test_a_member_that_has_not_ended_is_not_said_to_be_healed(app: Celery) -> None:
    result = chord([charge(app, 1), charge(app, 2)], charge(app)).apply_async()

    told = run(app, "resend", result.parent.results[0].id, "--dry-run").stderr

    assert "heal" not in told
    assert "keep_group=True, in Python, sends it as a member" in told


def test_a_broker_that_breaks_off_is_not_said_to_have_got_nothing(
    app: Celery, full: FullResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (bad, _) = chord_of(app, full, charge(app, 1), charge(app, 2))
    browser = Pages(app).browser
    form = browser.get(f"/surgery?id={bad}&how=heal").form("/surgery")

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(type(app.backend), "apply_chord", broken)
    words = browser.submit(form).words

    assert "some messages may have been sent; look before you try again" in words
    assert "Nothing was sent" not in words


def test_a_task_that_goes_on_as_others_is_not_sent_again(app: Celery, full: FullResult) -> None:
    """A task that a chain replaced is IGNORED until that ends."""
    step = chain(charge(app, 1), charge(app)).apply_async().parent.id
    ended(full, step, "IGNORED", children='["instead"]')
    _, (bad, other) = chord_of(app, full, charge(app, 1), charge(app, 2))
    ended(full, other, "IGNORED", at=samples.after(5), retries=1, children='["instead"]')
    gave_up = chain(charge(app, 1), charge(app)).apply_async().parent.id
    ended(full, gave_up, "IGNORED")

    resumed = full.surgery(step, "resume").plan().problem

    assert "it may have replaced itself, and go on as that" in str(resumed)
    assert f"task {other} is IGNORED, and published instead" in str(problem_of(full, bad))
    assert full.surgery(gave_up, "resume").plan().problem is None


def test_a_replay_leaves_a_step_of_a_chain_in_a_chord_to_heal(
    app: Celery, full: FullResult
) -> None:
    """Its message names the chord only in the last of the later steps."""
    member = chain(charge(app, 1), charge(app))
    result = chord([member, charge(app, 2)], charge(app)).apply_async()
    step = str(result.parent.results[0].parent.id)
    ended(full, step, "FAILURE")

    left_out = full.replays.preview(TaskQuery(state=("FAILURE",))).left_out

    assert left_out == {"a member of a chord, whose body would not run": 1}

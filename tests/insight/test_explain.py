"""Explanations from the storage alone: what is scheduled, never published, sent again, unknown.

Long because each rule has a few lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery, chain, chord, signature
from celery.app.task import Context
from celery.exceptions import NotRegistered

from fullresult import FullResult
from fullresult.insight.explain.explanation import Explanation, Finding, names
from fullresult.record import NOT_RUN, REVOKED
from fullresult.record.audit import AuditEntry
from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.worker import Worker
from fullresult.recording.given_result import GivenResult
from fullresult.testing import samples
from tests.kit.commands import run

HOUR = timedelta(hours=1)


@pytest.fixture
def full(storage_url: str) -> Iterator[FullResult]:
    """An app whose broker takes everything, and has no worker."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=storage_url, fullresult_schedule_eta=True)
    app.conf.result_backend = "fullresult://"
    with closing(FullResult(app)) as full, closing(app):
        full.setup()
        yield full


def why(full: FullResult, task_id: str) -> Explanation:
    return full.explain(task_id, offline=True)


def also(found: Explanation, verdict: str) -> Finding:
    return next(each for each in found.also if each.verdict == verdict)


def send(full: FullResult, name: str = "shop.pay", **options: Any) -> str:
    return str(full.app.send_task(name, [1], **options).id)


def request(task_id: str, name: str = "shop.pay", retries: int = 0) -> Context:
    known = {"id": task_id, "task": name, "retries": retries, "hostname": "w1@host"}
    return Context({**known, "args": [1], "kwargs": {}})


def fail(full: FullResult, task_id: str, name: str = "shop.pay") -> None:
    run = request(task_id, name)
    full.recorder.started(task_id, name, run)
    full.recorder.failed(task_id, name, run, ValueError("no stock"), None)


def test_an_id_that_nothing_names_is_unknown(full: FullResult) -> None:
    found = why(full, "nobody")

    assert (found.known, found.verdict, found.confidence) == (False, "unknown", "possible")
    assert found.sentence.startswith("No record and no schedule has this id")


def test_what_is_not_due_says_when_it_is(full: FullResult) -> None:
    task_id = send(full, countdown=7200)

    found = why(full, task_id)

    assert found.verdict == "not due"
    begin = r"It waits in the storage and is due in (1 h 59|2 h 00) m, at "
    assert re.match(begin, found.sentence)
    assert found.unknown == ()
    assert [each.verdict for each in found.also] == ["made by"]


def overdue(full: FullResult) -> str:
    task_id = send(full, countdown=7200)
    assert full.reschedule(task_id, full.storage.now() - HOUR)
    return task_id


def test_what_is_due_and_swept_by_nobody(full: FullResult) -> None:
    task_id = overdue(full)

    found = why(full, task_id)
    assert found.sentence == ("It has been due for 1 h 00 m, and no sweeper has ever been at work.")
    assert found.commands == ("celery -A proj fullresult sweep --loop",)

    storage, namespace = full.parts.schedule_storage, full.settings.namespace
    storage.note_sweep(namespace, full.storage.now() - HOUR)
    assert "no sweeper has been at work since " in why(full, task_id).sentence

    storage.note_sweep(namespace, full.storage.now())
    assert why(full, task_id).verdict == "sweeper is behind"


def test_what_is_claimed_and_not_marked_sent(full: FullResult) -> None:
    task_id = overdue(full)
    storage, namespace = full.parts.schedule_storage, full.settings.namespace
    [claimed] = storage.claim_due(namespace, full.storage.now(), "claim", 1)

    assert why(full, task_id).verdict == "being sent"

    storage.mark_problem("claim", claimed.schedule_id, "the broker went away")
    found = why(full, task_id)
    assert found.verdict == "claimed"
    assert "the broker went away: maybe it was sent, maybe not" in found.sentence


def test_what_is_for_another_broker(full: FullResult) -> None:
    task_id = overdue(full)
    other = Celery("shop", broker="memory://", set_as_current=False)
    url = full.app.conf.fullresult_storage
    other.conf.update(fullresult_storage=getattr(url, "whole", url), fullresult_schedule_eta=True)
    other.conf.fullresult_namespace = "redis://elsewhere/0"
    with closing(FullResult(other)) as elsewhere, closing(other):
        found = why(elsewhere, task_id)

    assert found.verdict == "for another broker"
    assert f"is for another broker, {full.settings.namespace}: sweepers of " in found.sentence


def test_a_step_of_a_chain_that_was_never_published(full: FullResult) -> None:
    steps = [signature(f"shop.step{n}", app=full.app, immutable=True) for n in range(4)]
    last = chain(*steps, app=full.app).apply_async()
    third = last.parent
    first = third.parent.parent

    found = why(full, third.id)
    assert found.sentence == (
        f"It is shop.step2, step 2 after shop.step0 ({first.id}), which is PENDING: it comes "
        "after that."
    )

    fail(full, first.id, "shop.step0")
    found = why(full, last.id)
    assert found.verdict == "never published"
    assert found.sentence.startswith(f"It is shop.step3, step 3 after shop.step0 ({first.id}), ")
    assert "with ValueError: no stock: so it was never published" in found.sentence
    assert found.commands == (f"celery -A proj fullresult resume {first.id}",)


def test_a_step_that_a_result_backend_has_fail(full: FullResult) -> None:
    """Celery stores the failure for all later steps, which no worker ever had."""
    error = ValueError("no stock")
    full.recorder.result(
        GivenResult("later", "FAILURE", error, {}, "Traceback", None), lambda _: None
    )

    found = why(full, "later")

    assert found.verdict == "step before it failed"
    assert found.sentence.startswith("Nothing is known of a run of it: a step before it may have")


def test_nobody_is_said_to_have_published_a_step_that_never_ran(full: FullResult) -> None:
    now = full.storage.now()
    message = samples.message(now, name="shop.ship")
    never = samples.outcome(NOT_RUN, now, exception_type="celery.exceptions.ChordError")
    full.storage.write([samples.event("body", now, outcome=never, message=message)])

    found = why(full, "body")

    assert found.sentence == "It never ran: a member of its chord failed."
    assert found.also == ()


def as_is_said(full: FullResult, found: Explanation, task_id: str, how: str) -> None:
    """The command for a task that failed is *how*, and the plan of that is not refused."""
    (command,) = (each for each in found.commands if how in each.split())
    assert command == f"celery -A proj fullresult {how} {task_id}"
    plan = run(full.app, how, task_id, "--dry-run")
    assert (plan.exit_code, plan.stderr) == (0, "")


def test_what_failed_in_a_workflow_is_run_again_so_that_the_rest_goes_on(
    full: FullResult,
) -> None:
    """Sent again by itself, a member of a chord is not counted, and its body never runs."""
    steps = [signature(f"shop.step{n}", app=full.app, immutable=True) for n in range(2)]
    last = chain(*steps, app=full.app).apply_async()
    fail(full, last.parent.id, "shop.step0")

    as_is_said(full, why(full, last.parent.id), last.parent.id, "resume")
    as_is_said(full, why(full, last.id), last.parent.id, "resume")

    members = [signature(f"shop.part{n}", app=full.app, immutable=True) for n in range(2)]
    result = chord(members, app=full.app)(signature("shop.whole", app=full.app))
    good, bad = (full.find(name=f"shop.part{n}")[0].task_id for n in range(2))
    ok = request(good, "shop.part0")
    full.recorder.started(good, "shop.part0", ok)
    full.recorder.succeeded(ok, "shop.part0", 1, 0.1, ignored=False)
    fail(full, bad, "shop.part1")
    # As the worker of the last member tells with its end.
    never = samples.outcome(
        NOT_RUN, full.storage.now(), exception_type="celery.exceptions.ChordError"
    )
    full.storage.write([samples.event(result.id, full.storage.now(), outcome=never)])

    as_is_said(full, why(full, bad), bad, "heal")
    as_is_said(full, why(full, result.id), bad, "heal")


def test_the_body_of_a_chord_says_what_it_waits_for(full: FullResult) -> None:
    members = [signature(f"shop.part{n}", app=full.app) for n in range(4)]
    body = signature("shop.whole", app=full.app)
    result = chord(members, app=full.app)(body)
    published = full.find(name="shop.part*", order="oldest")
    assert len(published) == 4
    ok = request(published[0].task_id, "shop.part0")
    full.recorder.started(ok.id, "shop.part0", ok)
    full.recorder.succeeded(ok, "shop.part0", 1, 0.1, ignored=False)
    fail(full, published[1].task_id, "shop.part1")

    found = why(full, result.id)

    assert found.verdict == "body of a chord"
    assert found.sentence.startswith(
        "It is shop.whole, the body of a chord, and waits for 3 of 4 members: "
        f"{published[1].task_id} failed (ValueError: no stock), 2 PENDING"
    )
    assert "the body is not sent" in found.sentence


def test_what_comes_after_the_body_of_a_chord_is_told_from_the_body(full: FullResult) -> None:
    members = [signature(f"shop.part{n}", app=full.app) for n in range(2)]
    inner = chord(members, signature("shop.inner", app=full.app), app=full.app)
    last = signature("shop.outer", app=full.app, immutable=True)
    result = chain(inner, last, app=full.app).apply_async()
    first, _ = full.find(name="shop.part*", order="oldest")
    fail(full, first.task_id, "shop.part0")

    found = why(full, result.id)

    assert found.verdict == "body of a chord"
    assert found.sentence.startswith(
        f"It is shop.outer, which comes after shop.inner ({result.parent.id}), the body of a chord "
        f"that waits for 2 of 2 members: {first.task_id} failed (ValueError: no stock), 1 PENDING."
    )
    assert found.sentence.endswith("the body is not sent, nor what comes after it.")


def test_a_member_that_is_a_chain_is_counted_at_the_step_it_has_reached(full: FullResult) -> None:
    """Its group is in the message of its last step only."""
    steps = [signature(f"shop.step{n}", app=full.app, immutable=True) for n in range(3)]
    members = [chain(*steps, app=full.app), signature("shop.part", app=full.app)]
    result = chord(members, app=full.app)(signature("shop.whole", app=full.app))
    [first] = full.find(name="shop.step0")
    fail(full, first.task_id, "shop.step0")

    found = why(full, result.id)

    assert found.sentence == (
        "It is shop.whole, the body of a chord, and waits for 2 of 2 members: "
        f"{first.task_id} failed (ValueError: no stock), 1 PENDING. A member that failed fails the "
        "chord: the body is not sent."
    )


def test_a_chord_inside_a_chord_that_failed_is_named(full: FullResult) -> None:
    parts = [signature(f"shop.part{n}", app=full.app) for n in range(2)]
    inner = chord(parts, signature("shop.inner", app=full.app), app=full.app)
    other = signature("shop.other", app=full.app)
    result = chord([inner, other], app=full.app)(signature("shop.outer", app=full.app))
    [first] = full.find(name="shop.part0")
    fail(full, first.task_id, "shop.part0")

    found = why(full, result.id)

    assert found.verdict == "body of a chord"
    assert re.fullmatch(
        r"It is shop\.outer, the body of a chord, and waits for 2 of 2 members: the chord of "
        rf"shop\.inner \([-0-9a-f]+\) failed, by {first.task_id} \(ValueError: no stock\), "
        r"1 PENDING\. So shop\.inner is not sent, and shop\.outer waits for it\.",
        found.sentence,
    )
    assert found.commands[0] == f"celery -A proj fullresult heal {first.task_id}"


def test_an_id_that_a_link_only_has_as_an_argument_is_none_of_its(full: FullResult) -> None:
    link = signature("shop.mail", ("somebody",), app=full.app)
    full.app.send_task("shop.pay", link=link)

    assert why(full, "somebody").verdict == "unknown"


def test_attempts_and_who_sent_it_again(full: FullResult) -> None:
    task_id = send(full)
    for retries in range(2):
        attempt = request(task_id, retries=retries)
        full.recorder.started(task_id, "shop.pay", attempt)
        full.recorder.retried(attempt, OSError("busy"), None)
    last = request(task_id, retries=2)
    full.recorder.started(task_id, "shop.pay", last)
    full.recorder.failed(task_id, "shop.pay", last, OSError("busy"), None)
    again = full.resend(task_id, actor="ada")

    found = why(full, task_id)
    assert found.verdict == "failed"
    assert "attempt 3 on w1@host ended at" in found.sentence
    told = also(found, "several attempts").sentence
    assert told.startswith("It was retried 2 times, after OSError; it was sent again by ada as ")

    made = also(why(full, again.id), "made by").sentence
    assert f"to send {task_id} again (ada)" in made


def test_who_made_it(full: FullResult) -> None:
    parent = send(full, "shop.order")
    task_id = send(full, parent_id=parent, root_id="root")
    by_beat = send(full, headers={"celery_beat_task": True, "periodic_task_name": "nightly"})

    made = also(why(full, task_id), "made by").sentence
    assert f"by the task shop.order ({parent}), in the workflow of root." in made
    assert "by beat, for the entry 'nightly'" in also(why(full, by_beat), "made by").sentence


def test_when_it_was_published_is_not_said_if_nobody_recorded_it(full: FullResult) -> None:
    """As of a task that was imported, or published by a program that does not record."""
    full.storage.write([replace(samples.task("old"), date_published=None)])

    made = also(why(full, "old"), "made by")

    assert re.match("Published (by .* )?before ", made.sentence)
    assert [each.said for each in made.evidence] == ["first known"]


def test_a_storage_that_knows_no_worker_says_so(full: FullResult) -> None:
    found = why(full, send(full))

    assert (found.verdict, found.confidence) == ("no worker", "possible")
    assert found.unknown == ("workers: they were not asked", "broker: it was not asked")


def test_a_worker_without_a_card_is_no_proof_of_anything(full: FullResult) -> None:
    now = full.storage.now()
    worker = Worker("id", "w1@host", now, now, now + HOUR)
    full.storage.note_worker(worker)  # type: ignore[attr-defined]

    found = why(full, send(full))

    assert (found.verdict, found.confidence) == ("not begun", "possible")
    assert "no start of it is recorded" in found.sentence


def test_a_revoked_task_says_who_did_it(full: FullResult) -> None:
    task_id = send(full, countdown=7200)
    full.cancel(task_id, actor="ada")

    found = why(full, task_id)

    assert found.verdict == "revoked"
    assert found.sentence.startswith("It was revoked by ada at ")


@pytest.mark.parametrize("how", ["revoked", "terminated"])
def test_who_stopped_it_is_who_succeeded_in_that(full: FullResult, how: str) -> None:
    """Not who tried in vain, nor who did something else to it."""
    now = full.storage.now()
    deed = "terminate" if how == "terminated" else "revoke"
    tries = [("ann", "cancel", "failed"), ("ada", deed, "done"), ("bob", deed, "failed")]
    for number, (actor, action, outcome) in enumerate([*tries, ("cy", "resend", "done")]):
        at = now + timedelta(milliseconds=number)
        entry = AuditEntry(str(number), at, actor, action, ("task",), {}, outcome)
        full.storage.keep_audit(entry)  # type: ignore[attr-defined]
    ended: dict[str, Any] = {"worker": "w1@host", "date_done": now, "exception_message": how}
    full.storage.write([samples.task("task", now - HOUR, state=REVOKED, **ended)])

    found = why(full, "task")

    assert found.verdict == how
    assert found.sentence.startswith(f"It was {how} by ada at ")


def test_a_broker_that_does_not_say_is_named(full: FullResult) -> None:
    """`memory://` has no evidence; the question is asked all the same."""
    task_id = send(full)

    found = full.explain(task_id)

    assert "queue celery: this broker does not say what is in it" in found.unknown
    assert found.confidence == "possible"


def test_the_command_says_it_and_its_exit_code(full: FullResult) -> None:
    task_id = send(full, countdown=7200)

    said = run(full.app, "explain", task_id)
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert re.match(r"It waits in the storage and is due in (1 h 59|2 h 00) m", lines[0])
    assert lines[1] == "  not due, certain"
    assert "What to do" in lines
    assert "Evidence" in lines

    told = json.loads(run(full.app, "explain", task_id, "--json", "--offline").stdout)
    assert told["verdict"] == "not due"
    assert told["evidence"][0]["source"] == "schedule"
    assert told["also"][0]["verdict"] == "made by"

    unknown = run(full.app, "explain", "nobody", "--offline")
    assert unknown.exit_code == 1
    assert "No record and no schedule has this id" in unknown.stdout


def test_text_of_a_task_cannot_move_the_terminal(full: FullResult) -> None:
    task_id = send(full, "shop.\x1b[2Jpay\nIt succeeded")

    said = run(full.app, "explain", task_id, "--offline")

    assert "\x1b" not in said.stdout
    assert not any(line.startswith("It succeeded") for line in said.stdout.splitlines())


def test_names_are_listed_as_people_do() -> None:
    assert names([]) == ""
    assert names(["a"]) == "a"
    assert names(["a", "b"]) == "a and b"
    assert names(["a", "b", "c"]) == "a, b and c"
    assert names(["a", "b", "c"], most=2) == "a, b and 1 more"


def living(full: FullResult, worker_id: str, names_: tuple[str, ...] = (), **card: Any) -> None:
    """A worker called w1@host that lives, with a card."""
    storage: Any = full.storage
    now = storage.now()
    storage.note_worker(Worker(worker_id, "w1@host", now, now, now + HOUR))
    known = Card(queues=("celery",), namespace=full.settings.namespace, **card)
    text = names_text({name: {} for name in names_})
    storage.note_card(WorkerCard(worker_id, now, names_id_of(text), known.text), text)


def test_a_task_that_is_to_be_tried_again_is_not_overtaken_by_its_first_turn(
    full: FullResult,
) -> None:
    living(full, "one")
    task_id = send(full)
    first = request(task_id)
    full.recorder.started(task_id, "shop.pay", first)
    later = send(full)
    full.recorder.started(later, "shop.pay", request(later))
    full.recorder.retried(first, OSError("busy"), None)

    found = why(full, task_id)

    assert found.verdict == "not begun"
    assert found.sentence.endswith("no start of it is recorded.")


def unregistered(full: FullResult, name: str = "shop.bezahlt_ä") -> Explanation:
    task_id = send(full, name)
    full.recorder.failed(task_id, name, request(task_id, name), NotRegistered(name), None)
    return why(full, task_id)


def test_the_release_of_another_life_of_a_worker_is_not_blamed(full: FullResult) -> None:
    living(full, "old", release="1")
    living(full, "new", ("shop.bezahlt_ä",), release="2")

    assert unregistered(full).sentence == (
        "w1@host does not know shop.bezahlt_ä; w1@host (release 2) knows it."
    )


def test_a_worker_without_a_card_may_know_any_task(full: FullResult) -> None:
    living(full, "new", ("shop.other",))
    assert unregistered(full).sentence.endswith("; no living worker with a card knows it.")

    now = full.storage.now()
    mute = Worker("mute", "w2@host", now, now, now + HOUR)
    full.storage.note_worker(mute)  # type: ignore[attr-defined]
    assert unregistered(full).sentence == "w1@host does not know shop.bezahlt_ä."


def test_a_failure_without_a_message_may_have_been_imported(full: FullResult) -> None:
    given = GivenResult("later", "FAILURE", ValueError("no stock"), {}, "Traceback", None)
    full.recorder.result(given, lambda _: None)

    found = why(full, "later")

    assert found.confidence == "possible"
    assert "or it was imported" in found.sentence


def test_commands_are_safe_to_paste(full: FullResult) -> None:
    for odd, shown in (("x; rm -rf ~", "'x; rm -rf ~'"), ("--orphans", "-- --orphans")):
        task_id = send(full, task_id=odd)
        fail(full, task_id)

        found = why(full, task_id)

        assert f"celery -A proj fullresult resend {shown}" in found.commands

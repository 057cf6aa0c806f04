"""Who is asked about a task, and what could not be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fullresult.insight.explain.case import Case, is_open
from fullresult.insight.live import Live, Now
from fullresult.insight.words import count_of


def asked(case: Case, live: Live | None) -> Case:
    """*case* with what workers and the broker say, if the task may be with one of them."""
    may_go_on = is_open(case.record)
    if not may_go_on and (case.record is not None or case.schedules):
        return case
    answers = None if live is None else _ask(case, live)
    told = replace(case, live=answers)
    unknown = _not_answered(told) if may_go_on or answers else ()
    return replace(told, unknown=tuple(unknown))


def _ask(case: Case, live: Live) -> Now:
    queues = () if case.queue is None else (case.queue,)
    names = [life.worker.name for life in (*case.alive, *case.perhaps)]
    return live.ask([case.task_id], names, queues, seek=case.task_id)


def _not_answered(case: Case) -> Iterator[str]:
    """What could not be asked, and why."""
    if case.live is None:
        yield "workers: they were not asked"
        yield "broker: it was not asked"
        return
    workers = case.live.workers
    if workers.problem:
        yield f"workers: {workers.problem}"
    else:
        yield from _silent(case)
    for name in workers.strangers:
        yield f"worker {name}: it has no FullResult, and does not know the question"
    for name in workers.failed:
        yield f"worker {name}: it answered with an error, which its log has"
    for answer in workers.answers:
        if answer.spooled:
            files = count_of(answer.spooled, "file")
            yield f"worker {answer.worker}: {files} of its spool may tell more of the task"
    for queue in case.live.queues:
        if queue.problem:
            yield f"queue {queue.name}: {queue.problem}"
        elif queue.ready is None and queue.exists is None:
            yield f"queue {queue.name}: this broker does not say what is in it"


def _silent(case: Case) -> Iterator[str]:
    answered = {each.worker for each in case.answers}
    told = {*case.live.workers.strangers, *case.live.workers.failed} if case.live else set()
    for life in case.silent:
        name = life.worker.name
        if life in case.perhaps:
            on = life.card.namespace if life.card else ""
            yield (
                f"worker {name}: it lives, on {on}, which may be this app's broker, and did not "
                "answer within 1 s"
            )
        elif name in answered:
            yield f"worker {name}: of several that live under this name, not all answered"
        elif name not in told:
            yield f"worker {name}: it lives, and did not answer within 1 s"

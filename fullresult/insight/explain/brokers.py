"""Rules about which broker it went to: its publisher's, this app's, and those of the workers."""

from __future__ import annotations

from fullresult.config import may_be_one
from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import Evidence, Finding, names
from fullresult.insight.fleet import Life

_ADVICE = "set broker_url to the same for publishers, workers and this command"
_IF_ONE = "if these name one broker, have all name it alike, by broker_url or fullresult_namespace"


def published_elsewhere(case: Case) -> Finding | None:
    """It was given to a broker that this app's surely is not: nothing here can say more of it."""
    home, ours = case.home, case.settings.namespace
    if not case.is_waiting or not home or may_be_one(home, ours) or case.broker_has_it:
        return None
    there = [life for life in case.living if life.card and life.card.namespace == home]
    if there:
        sentence = (
            f"It was published to {home}, whose workers are {_names(there)}; this app's broker is "
            f"{ours}, so that they were not asked."
        )
        return Finding(
            "on another broker",
            sentence,
            "likely",
            (_of_publisher(case, home), *map(case.of_card, there)),
            (f"run this command with broker_url = {home}",),
        )
    others = [life for life in case.living if life.card]
    sentence = f"It was published to {home}, of which no worker that lives has told"
    if others:
        on = names(sorted({life.card.namespace for life in others if life.card}))
        sentence += f"; {_names(others)} {'is' if len(others) == 1 else 'are'} on {on}"
    return Finding(
        "on another broker",
        f"{sentence}.",
        "likely",
        (_of_publisher(case, home), *map(case.of_card, others)),
        (_ADVICE,),
    )


def elsewhere(case: Case) -> Finding | None:
    """Workers live, and no card of one names this app's broker."""
    if not case.is_waiting or case.alive or not case.living or case.answers:
        return None
    queue = case.queue_now
    if queue is not None and (queue.consumers or queue.taken_at is not None):
        return None
    others = [life for life in case.living if life.card]
    spaces = sorted({life.card.namespace for life in others if life.card})
    to = case.settings.namespace if case.broker_has_it else case.home or case.settings.namespace
    is_known = case.broker_has_it or case.home is not None
    doubt = _may_be(spaces, to)
    if case.broker_has_it and doubt:
        return None
    sentence = (
        f"{_names(others)} {'lives' if len(others) == 1 else 'live'}, but on {names(spaces)}; "
        f"{_where(case, to)}{doubt}."
    )
    evidence = [case.of_card(life) for life in others]
    if case.broker_has_it:
        evidence.insert(0, case.of_broker(f"found in {case.queue}"))
    elif case.home:
        evidence.insert(0, _of_publisher(case, case.home))
    return Finding(
        "on another broker",
        sentence,
        "certain" if is_known and not doubt else "possible",
        tuple(evidence),
        (f"{_IF_ONE}; else {_ADVICE}" if doubt else _ADVICE,),
    )


def _where(case: Case, to: str) -> str:
    """Where the task is, or went."""
    if case.broker_has_it:
        return f"this task waits in {case.queue} on {to}"
    if case.home:
        return f"this task went to {to}"
    if case.home is None:
        return f"this app's broker is {to}, and which one its publisher has is not known"
    return f"this app's broker is {to}, and its publisher has another one"


def _may_be(spaces: list[str], other: str) -> str:
    alike = [each for each in spaces if may_be_one(each, other)]
    if not alike:
        return ""
    return f"; {names(alike)} may be another name of the same broker"


def doubt_of(case: Case) -> str:
    """A clause for a sentence about this app's broker, if its publisher's may be another one."""
    home, ours = case.home, case.settings.namespace
    if home == ours:
        return ""
    if home is None:
        return f", or it was published to another broker than {ours}"
    other = home or "another broker_url"
    return f"; its publisher has {other}, which may be another broker than {ours}"


def _names(lives: list[Life]) -> str:
    return names([life.worker.name for life in lives])


def _of_publisher(case: Case, home: str) -> Evidence:
    return case.of_record(f"published to {home}, by the mark in its stamp", case.published)

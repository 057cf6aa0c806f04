"""Whether arguments bind to a task as it is defined now, and where that is."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from celery import Task
from celery.backends.base import Backend
from celery.utils.functional import arity_greater

from fullresult.insight.check.findings import Place
from fullresult.record.encoding import clip, safe_str

_LONGEST = 1_000
"""Characters of a signature that are shown: a default may have a long repr."""


class Misfit(NamedTuple):
    """Why arguments do not bind."""

    problem: str
    heal: str
    certain: bool
    """False if a wrapper takes them, and may change what it passes on."""


def misfit(task: Task, positional: int, keywords: Sequence[str]) -> Misfit | None:
    """Why a call with so many arguments and these keywords does not bind; None if it does.

    Not by `__header__`, by which Celery checks: it takes anything for a task that is a class, and
    for a function behind `functools.wraps`.
    """
    try:
        return _misfit(task, positional, keywords)
    except Exception as error:  # noqa: BLE001  (a signature of one's own, the repr of a default)
        problem = f"the arguments that {task.name} takes cannot be read: {safe_str(error)}"
        return Misfit(problem, "check by hand that it takes them", certain=False)


def _misfit(task: Task, positional: int, keywords: Sequence[str]) -> Misfit | None:
    run = _run_of(task)
    inner = _problem(_signature(run, follow=True), positional, keywords)
    if inner is None:
        return None
    outer = _problem(_signature(run, follow=False), positional, keywords)
    certain = outer is not None or _is_celerys(run)
    shown = clip(str(_signature(run, follow=True)), _LONGEST)
    return Misfit(f"{shown_call(positional, keywords)} does not fit {task.name}{shown}: {inner}",
                  _heal(inner), certain)  # fmt: skip


def before_errback(task: Task, own: int, keywords: Sequence[str]) -> tuple[int, ...]:
    """How many arguments come before the *own* ones of an errback: as Celery decides it.

    Three, if the worker of what failed calls it at once; one, if it is sent as a task. Celery looks
    at the parameters, those with a default too, and never calls a bound task at once.
    """
    header = getattr(task, "__header__", None)
    if header is None or isinstance(header, partial):
        return (1,)
    try:
        # Since 5.7 what the signature has of its own does not count.
        if hasattr(Backend, "_errback_arity_greater") and (own or keywords):
            header = partial(header, *[None] * own, **dict.fromkeys(keywords))
        return (3,) if arity_greater(header, 1) else (1,)
    except (TypeError, ValueError):
        return (1, 3)


def shown_call(positional: int, keywords: Sequence[str]) -> str:
    """`(…, …, site=…)`."""
    return f"({', '.join(['…'] * positional + [f'{name}=…' for name in keywords])})"


def place_of(task: Task) -> Place | None:
    """Where *task* is defined."""
    try:
        function = inspect.unwrap(_run_of(task))
        function = getattr(function, "__func__", function)
        file = inspect.getsourcefile(function)
        lines, first = inspect.getsourcelines(function)
    except Exception:  # noqa: BLE001  (there may be no file, or an object of one's own)
        return None
    starts = (n for n, line in enumerate(lines) if line.lstrip().startswith(("def ", "async def ")))
    return None if file is None else Place(file, first + next(starts, 0))


def pydantic_wrapper_of(task: Task) -> Any:
    """Celery's wrapper of a task with `pydantic=True`; None for any other."""
    run = _run_of(task)
    return run if _is_celerys(run) else None


def _run_of(task: Task) -> Any:
    # `autoretry_for` puts a function of its own in the place of `run`.
    return getattr(task, "_orig_run", None) or task.run


def _is_celerys(run: Any) -> bool:
    function = getattr(run, "__func__", run)
    code = getattr(function, "__code__", None)
    return (
        hasattr(function, "__wrapped__")
        and code is not None
        and (code.co_filename.replace("\\", "/").endswith("celery/app/base.py"))
    )


@lru_cache(4096)
def _signature(run: Any, *, follow: bool) -> inspect.Signature:
    return inspect.signature(run, follow_wrapped=follow)


def _problem(signature: inspect.Signature, positional: int, keywords: Sequence[str]) -> str | None:
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError as error:
        return str(error)
    return None


def _heal(problem: str) -> str:
    name = problem.rpartition("'")[0].rpartition("'")[2]
    if problem.startswith("missing"):
        return f"give `{name}` a default" if name else "give it a default"
    if "unexpected keyword" in problem:
        return f"take `{name}` for as long as such tasks wait"
    return "take as many for as long as such tasks wait"

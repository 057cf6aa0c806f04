"""The rules: what would break if the code that runs here took a message of this use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from celery import Celery, Task

from fullresult.insight.check.binding import (
    before_errback,
    misfit,
    place_of,
    pydantic_wrapper_of,
    shown_call,
)
from fullresult.insight.check.findings import Level, Place
from fullresult.insight.check.modules import import_all
from fullresult.insight.check.uses import Tally, Use
from fullresult.insight.safe_text import one_line
from fullresult.record import encoding
from fullresult.recording import message

_OF_RULE = {"message": "FR002", "periodic entry": "FR008"}
_OURS = ("celery.", "fullresult.")


class Broken(NamedTuple):
    """One thing that would break, before it is known for how many."""

    rule: str
    level: Level
    task: str
    problem: str
    heal: str
    place: Place | None = None


class Rules:
    """The rules of one app."""

    def __init__(self, app: Celery, consumed: Collection[str] | None) -> None:
        """*consumed*: the queues that are; None if that is not known."""
        import_all(app)
        app.finalize()
        self._tasks: dict[str, Task] = dict(app.tasks)
        self._names = [name for name in self._tasks if not name.startswith(_OURS)]
        self._accepted = {message.content_type_of(name) for name in app.conf.accept_content}
        self._consumed = consumed

    def broken(self, use: Use, tally: Tally) -> Iterator[Broken]:
        """Everything that would break for *use*."""
        task = self._tasks.get(use.name)
        if task is None:
            yield self._unregistered(use)
        else:
            yield from self._of_arguments(task, _as_called(task, use), tally)
        place = None if task is None else place_of(task)
        yield from self._of_message(use, place)

    def validates(self, use: Use) -> bool:
        """True if the task has models for the values of its messages."""
        task = self._tasks.get(use.name)
        return task is not None and pydantic_wrapper_of(task) is not None

    def _unregistered(self, use: Use) -> Broken:
        near = get_close_matches(use.name, self._names, 1, 0.5)
        last = use.name.rpartition(".")[2]
        near = near or [name for name in self._names if name.rpartition(".")[2] == last][:1]
        heal = f"register it for as long as such tasks wait: @app.task(name={use.name!r})"
        if near:
            heal += f"; the nearest name is {near[0]}"
        place = place_of(self._tasks[near[0]]) if near else None
        said = _said(use, "the task is not registered")
        rule = "FR001" if use.how == "message" else _rule_of(use)
        return Broken(rule, "error", use.name, said, heal, place)

    def _of_arguments(self, task: Task, use: Use, tally: Tally) -> Iterator[Broken]:
        if use.positional is None or use.keywords is None:
            return
        problems = [misfit(task, number, use.keywords) for number in use.positional]
        if None in problems:
            yield from self._of_values(task, use, tally)
            return
        found = problems[0]
        assert found is not None
        rule, level = _rule_of(use), "error"
        if not found.certain:
            rule, level = ("FR003" if use.how == "message" else rule), "warning"
        said = _said(use, found.problem)
        yield Broken(rule, level, task.name, said, found.heal, place_of(task))  # type: ignore[arg-type]

    def _of_values(self, task: Task, use: Use, tally: Tally) -> Iterator[Broken]:
        """The samples' values, by the models of a task with `pydantic=True`."""
        wrapper = pydantic_wrapper_of(task)
        if wrapper is None or use.positional is None:
            return
        refused: dict[str, str] = {}
        for args, kwargs in tally.samples:
            refused = {**_refused(wrapper, use.positional, args, kwargs), **refused}
        for name, error in refused.items():
            said = _said(use, f"the value of `{name}` does not validate: {error}")
            heal = f"have the model of `{name}` take what such tasks have"
            yield Broken("FR004", "error", task.name, said, heal, place_of(task))

    def _of_message(self, use: Use, place: Place | None) -> Iterator[Broken]:
        if use.content_type is not None and use.content_type not in self._accepted:
            said = f"its messages are {use.content_type}, which accept_content does not name"
            yield Broken("FR005", "error", use.name, said, "name it in accept_content", place)
        if self._consumed is not None and use.queue and use.queue not in self._consumed:
            said = _said(use, f"its queue {use.queue} is consumed by nobody")
            heal = f"have a worker consume {use.queue}; messages are not routed anew"
            yield Broken("FR006", "error", use.name, said, heal, place)
        if use.compression is not None and not message.decompresses(use.compression):
            said = f"its messages are compressed by {use.compression}, which is not known here"
            heal = "install what decompresses it"
            yield Broken("FR009", "warning", use.name, said, heal, place)
        if use.protocol == 1 and not _reads_protocol_1():
            said = "its messages are of protocol 1, which the Celery here does not read"
            heal = "publish with task_protocol = 2, and let those that wait be run first"
            yield Broken("FR009", "warning", use.name, said, heal, place)


def _reads_protocol_1() -> bool:
    from celery.worker import strategy

    return hasattr(strategy, "proto1_to_proto2")


def _as_called(task: Task, use: Use) -> Use:
    """*use*, with the one number of arguments with which Celery calls an errback like *task*."""
    if use.how != "errback" or use.positional is None or len(use.positional) == 1:
        return use
    own = use.positional[0] - 1
    before = before_errback(task, own, use.keywords or ())
    return use._replace(positional=tuple(own + number for number in before))


def _rule_of(use: Use) -> str:
    return _OF_RULE.get(use.how, "FR007")


def _said(use: Use, problem: str) -> str:
    if use.how == "message":
        return problem
    of = f" of {use.caller}" if use.caller else ""
    shown = "" if use.positional is None else shown_call(use.positional[0], use.keywords or ())
    return (
        f"as {use.how}{of}: {problem}"
        if "…" in problem or not shown
        else (f"as {use.how}{of}, called {shown}: {problem}")
    )


_UNKNOWN = object()
"""An argument that what comes before a task gives it: nobody knows its value yet."""


def _refused(
    wrapper: Any, numbers: tuple[int, ...], args: Sequence[Any], kwargs: Any
) -> dict[str, str]:
    """The arguments that their models refuse, however many are put before them."""
    found: dict[str, str] = {}
    for number in numbers:
        before = [_UNKNOWN] * (number - len(args))
        refused = _invalid(wrapper, [*before, *args], kwargs)
        if refused is None:
            continue  # it does not bind so
        found = dict(refused)
        if not found:
            break
    return found


def _invalid(wrapper: Any, args: Any, kwargs: Any) -> list[tuple[str, str]] | None:
    """The arguments that their models refuse, and why; None if they do not bind."""
    import inspect

    try:
        bound = inspect.signature(wrapper).bind(*args, **kwargs)
    except TypeError:
        return None  # or it was changed since it was counted
    return [*_errors(wrapper, bound.arguments)]


def _errors(wrapper: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from pydantic import BaseModel, ValidationError

    hints, options = _hints(wrapper), _options(wrapper)
    for name, value in arguments.items():
        hint = hints.get(name)
        for kind in _models(hint, BaseModel):
            # None stands for itself only where it may be there in place of the model.
            if value is _UNKNOWN or (value is None and kind is not hint):
                continue
            try:
                kind.model_validate(value, **options)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, first["loc"]))
                yield name, one_line(f"{where}: {first['msg']}" if where else first["msg"])
            except Exception as error:  # noqa: BLE001  (a validator of the user's)
                yield name, one_line(encoding.safe_str(error))


def _hints(wrapper: Any) -> Mapping[str, Any]:
    """The annotations of its arguments, as Celery reads them."""
    import inspect
    import typing

    function = inspect.unwrap(wrapper)
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {name: p.annotation for name, p in inspect.signature(function).parameters.items()}


def _options(wrapper: Any) -> dict[str, Any]:
    """`strict` and `context`, with which Celery validates: its wrapper has them, and nobody else.

    Empty if it does not: then a value is validated as it is by default.
    """
    import inspect

    known: Mapping[str, Any] = inspect.getclosurevars(
        getattr(wrapper, "__func__", wrapper)
    ).nonlocals
    validates = known.get("validate_argument")  # since Celery 5.7
    if validates is not None:
        known = inspect.getclosurevars(validates).nonlocals
    if not {"strict", "context", "app", "task_name"} <= known.keys():
        return {}
    context = {"celery_app": known["app"], "celery_task_name": known["task_name"]}
    return {"strict": known["strict"], "context": {**(known["context"] or {}), **context}}


def _models(hint: Any, base: type) -> list[Any]:
    """The model by which Celery validates an argument: it looks into `Optional`, and no further."""
    import types
    import typing

    options: tuple[Any, ...] = (hint,)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = tuple(each for each in typing.get_args(hint) if each is not type(None))
    if len(options) != 1 or typing.get_origin(options[0]) is not None:
        return []
    return [each for each in options if isinstance(each, type) and issubclass(each, base)]

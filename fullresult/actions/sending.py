"""A task of the app, sent by a person: checked against its signature, and written down."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import Trail
from fullresult.actions.signature import check_call
from fullresult.insight.document import plain
from fullresult.insight.safe_text import one_line
from fullresult.record import encoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery
    from celery.result import AsyncResult

    from fullresult.actions.audit import Actor
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage

_LONGEST = 500
_SHOWN = ("queue", "eta", "countdown", "priority", "expires")


class WrongCall(TypeError):
    """The task does not take these arguments."""


class Sending:
    """Sends tasks for one actor. Each is in the audit log, also if it failed.

    The log has no arguments: those are in the task's record, redacted as ever.
    """

    def __init__(self, app: Celery, storage: Storage, recorder: Recorder, actor: Actor) -> None:
        self._app = app
        self._storage = storage
        self._recorder = recorder
        self._actor = actor

    @property
    def names(self) -> list[str]:
        """The tasks that can be sent, by name: all of the app but Celery's and ours.

        A name that nobody can type, as with a lone surrogate, is none of them.
        """
        self._import()
        return self._known()

    def _import(self) -> str:
        """Import the modules of the app, as a worker does; why that was not possible, if so."""
        try:
            self._app.loader.import_default_modules()
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a module may do anything)
            text = one_line(encoding.safe_str(error))[:_LONGEST]
            return f"; not all of its modules can be imported: {type(error).__name__}: {text}"
        return ""

    def _known(self) -> list[str]:
        ours = ("celery.", "fullresult.")
        typed = filter(str.isprintable, self._app.tasks)
        return sorted(name for name in typed if not name.startswith(ours))

    def check(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises `LookupError` for a name that is none of `names`.

        Raises `WrongCall` for arguments that the task does not take.
        """
        problem, names = self._import(), self._known()
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else problem
            raise LookupError(f"no task of this app is called {one_line(name)[:200]!r}{hint}")
        try:
            check_call(self._app, name, args, kwargs)
        except TypeError as error:
            raise WrongCall(encoding.safe_str(error)) from error

    def send(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> AsyncResult[Any]:
        """Send the task called *name*, as `apply_async` does with *options*.

        Raises as `check`, and what the broker or a serializer raises.
        """
        options = options or {}
        shown = {each: plain(options[each]) for each in _SHOWN if options.get(each) is not None}
        asked = {"name": plain(name), **shown}
        trail = Trail(self._storage, self._recorder.redactor, self._actor, "send", asked)
        try:
            self.check(name, args, kwargs or {})
            result = self._app.tasks[name].apply_async(list(args), dict(kwargs or {}), **options)
        except Exception as error:
            trail.write_problem((), error)
            raise
        trail.write([str(result.id)], {})
        return result

"""Telling workers to drop or to end tasks, by Celery's remote control, and who confirmed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fullresult.insight.fleet import Life, in_force, lives_of
from fullresult.record import encoding

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings
    from fullresult.storage import Storage

WAIT = 2.0
"""Seconds in which workers answer."""


class BrokerError(Exception):
    """The broker did not take a message for the workers. Its cause is the broker's error."""


class ToldWorkers:
    """The workers of one app that live, and what they are told."""

    def __init__(self, app: Celery, settings: Settings, storage: Storage) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage

    def alive(self) -> list[Life]:
        """Raises `StorageError`."""
        now, ours = self._storage.now(), self._settings.namespace
        lives = in_force(lives_of(self._storage, now, gone=0))
        return [
            life
            for life in lives
            if not life.worker.is_gone(now)
            and (life.card is None or life.card.namespace in ("", ours))
        ]

    def names(self) -> list[str]:
        """Of those that must know that a task is revoked. Raises `StorageError`."""
        return sorted({life.worker.name for life in self.alive()})

    def revoke(self, ids: list[str], workers: list[str]) -> tuple[list[str], str]:
        """Tell all workers to drop these tasks. Returns those of *workers* that did not confirm.

        There may be some that are not known here: they are told, too. Those that are silent are
        asked again; with them, a clause says so if the broker did not take that. Raises
        `BrokerError` if it took nothing.
        """
        silent = _not_in(self.ask(ids, None, len(workers)), workers)
        try:
            return _not_in(self.ask(ids, silent, len(silent)), silent) if silent else [], ""
        except BrokerError as error:
            return silent, f", and the broker did not take a second message to them ({error})"

    def ask(
        self, ids: list[str], workers: list[str] | None, most: int, **more: Any
    ) -> dict[str, Mapping[str, Any]]:
        """The first *most* answers of *workers*, or of all, to a revoke. Raises `BrokerError`."""
        waits = {"reply": True, "timeout": WAIT, "limit": most} if most else {}
        try:
            found = self._app.control.revoke(ids, destination=workers, **waits, **more)
        except Exception as error:  # of the broker's library
            raise BrokerError(encoding.safe_str(error)) from error
        answers = [each.items() for each in found or () if isinstance(each, dict)]
        return {
            str(name): answer if isinstance(answer, Mapping) else {}
            for each in answers
            for name, answer in each
        }


def names_of(workers: Sequence[str]) -> str:
    """The first three, and the number of the others."""
    shown = ", ".join(workers[:3])
    return shown if len(workers) <= 3 else f"{shown} and {len(workers) - 3} more"  # noqa: PLR2004


def _not_in(answers: Mapping[str, Mapping[str, Any]], workers: list[str]) -> list[str]:
    """Those of *workers* that have not confirmed."""
    return [name for name in workers if "ok" not in answers.get(name, {})]

"""Alerts: what began to need somebody since it was looked at last, and what is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fullresult.insight.needing import MOST, Needing, needing
from fullresult.insight.queues import queues_of
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of
from fullresult.record.encoding import clip
from fullresult.storage import StatisticsStorage

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import Storage

_WORDS = {
    "workers": "{} gone",
    "orphans": "{} on a worker that is gone",
    "stale": "{} stale",
    "stale_scheduled": "{} due for too long and not sent",
    "failures": "{} failed in the last day, not dealt with",
}
_NOT_KNOWN = "storage"
_LONGEST = 2_000
"""Characters of `text`. Chats refuse more, and names of queues have any length."""
_LONGEST_SENTENCE = 300
_OF_CHATS = str.maketrans("@<>", "\uff20\u2039\u203a")
"""Slack obeys `<!channel>` and `<@U012>`, Mattermost and Discord `@all` and `@everyone`, wherever
they stand. These look alike, and no chat obeys them."""


@dataclass(frozen=True)
class Alert:
    """What is to be told now."""

    at: datetime
    began: tuple[str, ...]
    """Sentences about what needs somebody since the last look."""
    goes_on: tuple[str, ...]
    """Sentences about what needed somebody then, and still does."""
    over: tuple[str, ...]
    """The sentences that were told, of what needs nobody any more."""

    def document(self, app_name: str) -> dict[str, Any]:
        """As JSON. `text` is for chats, which take a webhook with a field of this name.

        No name in it pings people in a chat, as `<!channel>` and `@here` do.
        """
        began, goes_on, over = (
            [*map(_quiet, some)] for some in (self.began, self.goes_on, self.over)
        )
        parts = [*began, *(f"over: {each}" for each in over)]
        parts += [f"still: {each}" for each in goes_on]
        name = _quiet(app_name)
        return {
            "text": clip(f"{name}: {' | '.join(parts)}", _LONGEST),
            "app": name,
            "at": self.at.isoformat(),
            "began": began,
            "goes_on": goes_on,
            "over": over,
        }


def _quiet(text: str) -> str:
    return text.translate(_OF_CHATS)


class Alerts:
    """Looks again and again, and remembers what was told."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def look(self, at: datetime, found: dict[str, str]) -> Alert | None:
        """The alert for *found*, sentences by what they are about; None if nothing changed."""
        began = tuple(words for key, words in found.items() if key not in self._told)
        # Of a storage that does not answer nothing else is known, nor over.
        known = _NOT_KNOWN not in found
        over = tuple(words for key, words in self._told.items() if known and key not in found)
        if not began and not over:
            return None
        goes_on = tuple(words for key, words in found.items() if key in self._told)
        return Alert(at, began, goes_on, over)

    def told(self, found: dict[str, str]) -> None:
        """*found* was told: only what changes from now on makes another alert."""
        kept = self._told if _NOT_KNOWN in found else {}
        self._told = {**kept, **found}


def needs(storage: Storage, settings: Settings) -> dict[str, str]:
    """A sentence about each thing that needs somebody now. Raises `StorageError`.

    Workers, orphans, stale and overdue tasks, failures, queues that nobody consumes or that are
    paused.
    """
    found = {
        name: _WORDS[name].format(_counted(name, number))
        for name, number in _numbers(needing(storage, settings))
        if number
    }
    if isinstance(storage, StatisticsStorage):
        for queue in queues_of(storage, settings).queues:
            said = queue.problem or (queue.paused.sentence if queue.paused else None)
            if said:
                kind = "paused" if queue.paused else "queue"
                found[f"{kind} {queue.name}"] = clip(one_line(said), _LONGEST_SENTENCE)
    return found


def _numbers(found: Needing) -> list[tuple[str, int]]:
    return [(name, getattr(found, name)) for name in _WORDS]


def _counted(name: str, number: int) -> str:
    more = "or more " if number >= MOST else ""
    noun = "worker" if name == "workers" else "task"
    return count_of(number, f"{more}{noun}") if number != 1 else f"1 {noun}"


def silent_storage(error: Exception) -> dict[str, str]:
    """The same where the storage does not answer."""
    return {
        _NOT_KNOWN: f"the storage does not answer: {clip(one_line(str(error)), _LONGEST_SENTENCE)}"
    }

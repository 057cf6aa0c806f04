"""The message of the run that a record's outcome is of, where its id was published again.

A record keeps the first message of its id. If the id is published a second time, with other
arguments perhaps, the worker of each run tells the message that it had beside its outcome.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record.parts import Message
from fullresult.record.stamps import PUBLISHED_BELOW

_DATES = ("eta", "expires")


class OwnMessage(NamedTuple):
    """Of two the one with the greater stamp counts: that of the outcome it is for."""

    stamp: str
    text: str
    """The `Message` as JSON."""

    @classmethod
    def of(cls, message: Message, stamp: str) -> OwnMessage:
        """*message*, for the outcome with *stamp*."""
        known: dict[str, Any] = message._asdict()
        known["body"] = None if message.body is None else b64encode(message.body).decode()
        for name in _DATES:
            known[name] = known[name] and known[name].isoformat()
        return cls(stamp, json.dumps(known))

    @property
    def message(self) -> Message:
        """The message, without fields that only a newer version knows."""
        told = json.loads(self.text)
        known: dict[str, Any] = {name: told.get(name) for name in Message._fields}
        known["body"] = known["body"] and b64decode(known["body"])
        for name in _DATES:
            known[name] = known[name] and datetime.fromisoformat(known[name])
        return Message(**known)


def published_again(a: Message | None, b: Message | None, *known: str | None) -> str | None:
    """The least stamp of the publishes after the first, of two messages and of what is *known*.

    A first attempt is published once, as a rule; what a worker tells is no publish.
    """
    found = [stamp for stamp in known if stamp is not None]
    if a is not None and b is not None and a.stamp != b.stamp:
        found += [stamp for stamp in [max(a.stamp, b.stamp)] if stamp < PUBLISHED_BELOW]
    return min(found, default=None)

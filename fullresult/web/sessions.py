"""Sessions: who came in and until when, signed, in a cookie. The server keeps nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

LIFE = 12 * 3600
"""Seconds after which one has to come in again."""


class Sessions:
    """Signs and reads sessions with one *key*."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, name: str, kind: str, now: float | None = None) -> str:
        """The text of a session of *name*, who came in by *kind*: `password` or `token`."""
        until = int(now if now is not None else time.time()) + LIFE
        told = json.dumps([kind, name, until]).encode()
        return f"{_text(told)}.{_text(self._sign(told))}"

    def read(self, text: str, now: float | None = None) -> tuple[str, str] | None:
        """(kind, name) of a session that we wrote and that is not over."""
        shown, _, signature = text.partition(".")
        told, signed = _bytes(shown), _bytes(signature)
        if told is None or signed is None or not hmac.compare_digest(signed, self._sign(told)):
            return None
        kind, name, until = _loads(told)
        if until < (now if now is not None else time.time()):
            return None
        return kind, name

    def _sign(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, hashlib.sha256)


def _loads(told: bytes) -> Any:
    return json.loads(told)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None

"""Sessions: who logged in and until when, signed, in a cookie; and which were logged out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from fullresult.record.audit import AuditEntry, AuditQuery

LIFE = 12 * 3600
"""Seconds from the log-in to the end of a session, at most."""
LOG_OUT = "log-out"
"""The action in the audit log that ends a session in every process."""
_SEALED = b"sealed\0"
"""Before what is signed and is no session, so that neither passes for the other."""
_ASK_AGAIN = 2.0
"""Seconds between two reads of the audit log."""
_OVERLAP = timedelta(minutes=1)
"""Each read begins this long before the last one, for entries written meanwhile."""


class Session(NamedTuple):
    """One log-in of one person."""

    kind: str
    """The way in: `password`, the start-up `token`, or, with the role, `oidc-reader`."""
    name: str
    until: int
    """Unix time."""
    ident: str
    """Random. Only its hash is shown elsewhere."""


class Sessions:
    """Signs and reads sessions with one *key*, which is used for nothing else."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, name: str, kind: str, now: float | None = None, life: int = LIFE) -> str:
        """The cookie of a new session of *name*, who came in by *kind*, for *life* seconds."""
        until = int(now if now is not None else time.time()) + min(life, LIFE)
        payload = json.dumps([kind, name, until, secrets.token_urlsafe(16)]).encode()
        return f"{_text(payload)}.{_text(self._sign(payload))}"

    def read(self, text: str, now: float | None = None) -> Session | None:
        """The session of a cookie; None if we did not sign it, or its time is over."""
        shown, _, signature = text.partition(".")
        payload, signed = _bytes(shown), _bytes(signature)
        if (
            payload is None
            or signed is None
            or not hmac.compare_digest(signed, self._sign(payload))
        ):
            return None
        session = Session(*json.loads(payload))
        return None if session.until < (now if now is not None else time.time()) else session

    def seal(self, text: str) -> str:
        """*text* signed, for a cookie that is no session."""
        payload = text.encode()
        return f"{_text(payload)}.{_text(self._sign(_SEALED + payload))}"

    def unseal(self, cookie: str) -> str | None:
        """The text of `seal`; None if we did not sign it."""
        shown, _, signature = cookie.partition(".")
        payload, signed = _bytes(shown), _bytes(signature)
        if payload is None or signed is None:
            return None
        is_ours = hmac.compare_digest(signed, self._sign(_SEALED + payload))
        return payload.decode() if is_ours else None

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)


class Ended:
    """The sessions that were logged out.

    *find* reads the audit log, by which processes with one secret tell each other. Without *find*,
    no other process can have made a session.
    """

    def __init__(
        self,
        find: Callable[[AuditQuery], list[AuditEntry]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()
        self._next = clock()
        self._since = datetime.now(timezone.utc) - timedelta(seconds=LIFE)

    @property
    def is_shared(self) -> bool:
        return self._find is not None

    @property
    def is_due(self) -> bool:
        """True if the audit log should be read again."""
        return self._find is not None and self._clock() >= self._next

    def look(self) -> None:
        """Read from the audit log which sessions other processes ended. Raises `StorageError`."""
        with self._lock:
            if self._find is None or not self.is_due:
                return
            self._next = self._clock() + _ASK_AGAIN
        at = datetime.now(timezone.utc)
        for entry in self._find(AuditQuery(action=LOG_OUT, since=self._since, limit=None)):
            self._keep(str(entry.details.get("session")), entry.at.timestamp() + LIFE)
        self._since = at - _OVERLAP

    def add(self, session: Session) -> None:
        self._keep(shown(session), session.until)

    def __contains__(self, session: Session) -> bool:
        return shown(session) in self._until

    def _keep(self, name: str, until: float) -> None:
        now = time.time()
        with self._lock:
            self._until[name] = until
            for old in [each for each, end in self._until.items() if end < now]:
                del self._until[old]


def shown(session: Session) -> str:
    """A name of *session* for the audit log, which lets nobody in."""
    return hashlib.sha256(session.ident.encode()).hexdigest()[:32]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None

"""How a crowd of processes shares a PostgreSQL server's connections, and leaves some to others."""

from __future__ import annotations

import time

import psycopg

from fullresult.storage import NoRoom
from fullresult_storage_sql import statements
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

SHORT = " (fullresult, for a moment)"
"""The end of the name by which the server shows a session that does not last."""
_CROWDED = 0.7
"""The part of the server's connections from which on a further session of ours does not last."""
_SPARED = 0.1
"""The part that is left to others as long as at least as many of our sessions do not last."""
_LASTS = 5.0
"""Seconds after which such a session is closed when it is given back."""
_UNKNOWN = 100
_ROOM = statements.numbered(SQL["room"])


def settle(session: Session) -> int:
    """The connections that may be opened before the server is crowded.

    Raises `NoRoom` if the rest is for others. A server that does not say is not crowded.
    """
    try:
        session.send(_ROOM, [SHORT], prepare=False)
        most, used, short = (int(each or 0) for each in session.first_row())
    except psycopg.ProgrammingError:
        return _UNKNOWN
    room = int(most * _CROWDED) - used
    if room >= 0:
        return room
    if most - used < most * _SPARED <= short:
        raise NoRoom(f"{used} of its {most} connections are in use, and the rest is for others")
    session.worn_at = time.monotonic() + _LASTS
    session.execute(SQL["end_soon"], [SHORT])
    return room

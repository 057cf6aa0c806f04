"""Asking a socket, without waiting, if there is something to read."""

from __future__ import annotations

import select
from typing import Any


def is_readable(socket: Any) -> bool:
    """True if *socket* (or its number) has data to read, or if its other end hung up."""
    if not hasattr(select, "poll"):  # eventlet takes it away, and Windows never had it
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))

"""The directory below which each storage has its spool."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_SPOOL = "~/.local/state/fullresult"
"""In the user's home; if `XDG_STATE_HOME` is set, in that directory."""


def spool_home(directory: str | None) -> Path | None:
    """The path that `fullresult_spool_directory` means; None for no spool.

    Raises `LookupError`, which says what to set, if this user has no home directory.
    """
    if directory is None:
        return None
    state = os.environ.get("XDG_STATE_HOME", "")
    if directory == DEFAULT_SPOOL and Path(state).is_absolute():
        return Path(state, Path(DEFAULT_SPOOL).name)
    try:
        place = Path(directory).expanduser()
    except RuntimeError:
        place = Path()
    if not place.is_absolute():
        raise LookupError(
            f"no directory {directory}, for this user has no home: set fullresult_spool_directory"
        )
    return place

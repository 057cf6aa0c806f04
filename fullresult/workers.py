"""Whether this process is a worker's."""

from __future__ import annotations

_worker = False


def became_worker() -> None:
    """This process, and the ones it forks, are a worker's."""
    global _worker  # noqa: PLW0603
    _worker = True


def is_worker() -> bool:
    """Whether a publish here is a worker's own: a retry, a link, or what a task's body sends."""
    return _worker

"""Whether this process is a worker's."""

from __future__ import annotations

_worker = False


def became_worker() -> None:
    """This process, and the ones it forks, are a worker's."""
    global _worker  # noqa: PLW0603
    _worker = True


def was_worker() -> None:
    """The worker has ended; its process goes on, as that of a test suite does."""
    global _worker  # noqa: PLW0603
    _worker = False


def is_worker() -> bool:
    """Whether a publish here is a worker's own: a retry, a link, or what a task's body sends."""
    return _worker

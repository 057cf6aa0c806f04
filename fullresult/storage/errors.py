"""What a storage raises."""

from __future__ import annotations


class StorageError(Exception):
    """A storage could not do what it was asked; the message says what to check."""


class Uncertain(StorageError):
    """What was to be kept may have been, or may yet be: the answer did not come."""


class Refused(StorageError):
    """The storage answers, but does not take this event; the message says why."""

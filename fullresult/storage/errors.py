"""The errors that a storage raises."""

from __future__ import annotations


class StorageError(Exception):
    """A storage could not do what it was asked; the message says what to check."""


class NoRoom(StorageError):
    """The storage has no connection for this process, or none to spare; it may answer others."""


class InLine(NoRoom):
    """Others of this host were asking for connections; the storage was not asked."""


class Uncertain(StorageError):
    """No answer came: what was to be kept may have been kept, or may still be."""


class Refused(StorageError):
    """The storage answers, but cannot keep this event as it is; the message says why."""

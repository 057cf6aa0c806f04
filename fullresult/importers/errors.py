"""Errors of importing."""

from __future__ import annotations


class CannotImport(Exception):
    """The source cannot be read at all; the error says what was expected."""

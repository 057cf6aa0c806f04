"""Errors without the texts that are hidden of their tasks' arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.utils.serialization import UnpickleableExceptionWrapper

from fullresult.record import encoding
from fullresult.recording import masking
from fullresult.recording.masking import MARK

Hide = Callable[[str], str]
"""Answers a text as it may be kept."""


def hidden_error(value: Any, hide: Hide) -> Any:
    """An error as a result backend is given it: an exception, or a dict for JSON to hold."""
    if isinstance(value, Mapping):
        return {**value, "exc_message": masking.texts(value.get("exc_message"), hide)}
    if not isinstance(value, BaseException):
        return masking.texts(value, hide)
    parts = (value.args, vars(value), getattr(value, "__notes__", ()))
    text = encoding.safe_str(value)
    if masking.texts(parts, hide) is parts and hide(text) == text:
        return value
    # Not an exception of the same class, whose constructor may do anything.
    args = [encoding.safe_repr(each) for each in masking.texts(list(value.args), hide)]
    return _stand_in(value, args, hide(text))


def nameless(value: Any) -> Any:
    """An error of which only the class may be kept."""
    if isinstance(value, Mapping):
        return {**value, "exc_message": [MARK]}
    return _stand_in(value, [MARK], MARK) if isinstance(value, BaseException) else MARK


def _stand_in(error: BaseException, args: list[str], text: str) -> UnpickleableExceptionWrapper:
    kind = type(error)
    return UnpickleableExceptionWrapper(kind.__module__, kind.__name__, args, text=text)

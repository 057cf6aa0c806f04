"""The modules of an app, imported as its workers import them."""

from __future__ import annotations

import traceback
from types import TracebackType

from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.insight.safe_text import one_line
from fullresult.record import encoding

_MOST = 500


def import_all(app: Celery) -> None:
    """Raises `ImproperlyConfigured`, which no clean check can be taken for."""
    try:
        app.loader.import_default_modules()
    # A module that ends the program, perhaps with exit code 0, would end the check as a clean one.
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {one_line(encoding.safe_str(error))[:_MOST]}"
        raise ImproperlyConfigured(
            f"nothing was checked, as a module of the app cannot be imported: {said}"
            f"{_place(error.__traceback__)}; no worker of this code would start"
        ) from error


def _place(trace: TracebackType | None) -> str:
    """Where it was raised, if not by the import system itself."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith("<")]
    if not frames or "importlib" in frames[-1].filename:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"

"""The configuration as Celery shows it: without the password of our storage."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals

from fullresult.config.shown_url import hide_passwords


def show_no_password(app: Celery) -> None:
    """Hide the storage's password in *app*'s configuration, as soon as there is one.

    Celery's commands import the app's modules before they show anything; so a URL that was set
    after the configuration was first used is hidden by then, too.
    """
    if app.configured:
        hide_passwords(app)
    app.on_after_configure.connect(_on_after_configure, weak=False)
    signals.import_modules.connect(
        _on_import_modules, dispatch_uid="fullresult.report.import_modules", weak=False
    )


def _on_after_configure(sender: Celery, **_: Any) -> None:
    hide_passwords(sender)


def _on_import_modules(sender: Any, **_: Any) -> None:
    if hasattr(sender, "fullresult"):
        hide_passwords(sender)

"""A URL with a password in an app's configuration: what shows the configuration sees `***`."""

from __future__ import annotations

from collections.abc import Mapping

from celery import Celery

from fullresult.config.urls import without_password

_KEYS = ("fullresult_storage", "fullresult_read_storage", "fullresult_outboxes")


class ShownUrl(str):
    """A URL as it may be shown; `whole` has its password.

    Celery prints a configuration as it stands, in `celery report` and to whoever asks a worker
    with `celery inspect conf`. It hides values by the names of their keys, and not of ours.
    """

    __slots__ = ("whole",)

    whole: str

    def __new__(cls, shown: str, whole: str) -> ShownUrl:  # noqa: PYI034  (no Self in 3.10)
        self = super().__new__(cls, shown)
        self.whole = whole
        return self

    def __reduce__(self) -> tuple[type[ShownUrl], tuple[str, str]]:
        return ShownUrl, (str(self), self.whole)


def hide_passwords(app: Celery) -> None:
    """Put a `ShownUrl` in the place of each storage's URL that has a password.

    What *app* was configured from (a module, Django's settings) stays as it is.
    """
    conf = app.conf
    for key in [key for key in conf if isinstance(key, str) and key.lower().endswith(_KEYS)]:
        if (hidden := _hidden(conf.changes.get(key))) is not None:
            conf.changes[key] = hidden
        elif key not in conf.changes and (hidden := _hidden(conf.get(key))) is not None:
            conf.add_defaults({key: hidden})


def _hidden(value: object) -> ShownUrl | dict[object, object] | None:
    """*value*, a URL or a dict of them, with its passwords hidden; None if it has none."""
    if isinstance(value, Mapping):
        urls = {name: _hidden(url) for name, url in value.items()}
        return {n: urls[n] or url for n, url in value.items()} if any(urls.values()) else None
    if not isinstance(value, str) or isinstance(value, ShownUrl):
        return None
    shown = without_password(value)
    return None if shown == value else ShownUrl(shown, value)

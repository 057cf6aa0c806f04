"""`alert`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from http.client import HTTPException, InvalidURL
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from fullresult.cli import limits
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length
from fullresult.cli.which_app import full_of
from fullresult.insight.alerts import Alerts, needs, silent_storage
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of
from fullresult.record.encoding import safe_str
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.extension import FullResult

_PATIENCE = 10.0
"""Seconds for a webhook to answer."""
_LONGEST_RUN = 60.0
"""Seconds for a command to end."""


Tell = Callable[[dict[str, Any]], None]
"""Tells somebody a document. Raises `_NotTold`."""


class _NotTold(Exception):
    """Nobody was told; the message says why."""


@click.command(
    cls=Command,
    examples=[
        "alert --webhook https://chat.example.com/hooks/abc",
        "alert --command 'mail -s tasks ops@example.com'",
        "alert --once",
    ],
)
@click.option(
    "--webhook",
    metavar="URL",
    envvar="FULLRESULT_ALERT_WEBHOOK",
    help="POST the alert to it, as JSON with a field `text`.",
)
@click.option("--command", "program", metavar="COMMAND", help="Run it, with the JSON as its input.")
@click.option(
    "--every", type=length, metavar="LENGTH", default="1m", show_default=True, help="Look so often."
)
@click.option("--once", is_flag=True, help="Look once; exit with code 3 if something needs you.")
@click.pass_context
def alert(
    context: click.Context,
    /,
    webhook: str | None,
    program: str | None,
    every: timedelta,
    once: bool,
) -> None:
    """Tell somebody when tasks begin to need them, and when that is over.

    What needs somebody: workers that are gone, orphans, stale and overdue tasks, failures of the
    last day that nobody has dealt with, queues that nobody consumes, and a storage that does not
    answer. Each is told when it begins and when it is over, and on the standard output, too. What
    could not be told is tried again at the next look.
    """
    if every < timedelta(seconds=1):
        raise click.UsageError("--every: one second at least")
    tells: list[Tell] = [_say]
    if webhook:
        tells.append(partial(_post, _checked(webhook.strip())))
    if program is not None:
        tells.append(partial(_run, _words_of(program)))
    full, receivers = full_of(context), [_Receiver(tell) for tell in tells]
    while True:
        found = _needs(full)
        problems = [why for each in receivers if (why := each.told(full, found)) is not None]
        if once and problems:
            raise Failure("; ".join(problems))
        for why in problems:
            say(one_line(f"Not told, and tried again in {every}: {why}"), err=True)
        if once:
            if found:
                limits.fail_over(context, f"{count_of(len(found), 'thing')} to see to", more=False)
            return
        sleep(every.total_seconds())


def _checked(url: str) -> str:
    """*url*, which no message shows: it is a secret of its own."""
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--webhook: its URL begins with https:// or http://")
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not url.isascii() or not url.isprintable() or " " in url:
        raise click.UsageError("--webhook: its URL has no host, or what no URL has")
    if "@" in parts.netloc:
        raise click.UsageError("--webhook: its URL may have no user name and no password")
    return url


def _words_of(program: str) -> list[str]:
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise click.UsageError(f"--command: {error}") from None
    if not words:
        raise click.UsageError("--command: say which")
    return words


def _needs(full: FullResult) -> dict[str, str]:
    try:
        return needs(full.storage, full.settings)
    except StorageError as error:
        return silent_storage(error)


@dataclass
class _Receiver:
    """Who is told; what one of them did not take is told to that one alone again."""

    tell: Tell
    alerts: Alerts = field(default_factory=Alerts)

    def told(self, full: FullResult, found: dict[str, str]) -> str | None:
        """Tell what changed; the reason why that was not possible, or None."""
        it = self.alerts.look(datetime.now(timezone.utc), found)
        if it is None:
            return None
        try:
            self.tell(it.document(full.app.main or "app"))
        except _NotTold as error:
            return str(error)
        self.alerts.told(found)
        return None


def _say(document: dict[str, Any]) -> None:
    say(one_line(document["text"]))


class _Stays(HTTPRedirectHandler):
    """Follows nothing: behind a redirect a POST becomes a GET, and the alert is lost."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(url: str, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    request = Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with _said("the webhook"):
        try:
            build_opener(_Stays).open(request, timeout=_PATIENCE).close()
        except HTTPError as error:
            error.close()  # it holds the connection
            raise


def _run(words: Sequence[str], document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    with _said("the command"):
        finished = subprocess.run(list(words), input=body, timeout=_LONGEST_RUN, check=False)
        if finished.returncode:
            raise _NotTold(f"the command ended with code {finished.returncode}")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn what goes wrong into a sentence, without the URL, which is a secret of its own."""
    try:
        yield
    except subprocess.TimeoutExpired as error:  # its text has the whole command
        raise _NotTold(f"{what} did not end within {_LONGEST_RUN:g} s") from error
    except InvalidURL as error:  # its text has the URL
        raise _NotTold(f"{what} has a URL that is none") from error
    except HTTPError as error:
        raise _NotTold(f"{what} answered {error.code} {safe_str(error.reason)[:200]}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        said: Any = getattr(error, "reason", None) or error
        raise _NotTold(f"{what} did not take it: {safe_str(said)[:200]}") from error

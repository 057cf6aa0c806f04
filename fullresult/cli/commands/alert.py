"""`alert`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.client import HTTPException
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

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
    if webhook and not webhook.startswith(("http://", "https://")):
        raise click.UsageError("--webhook: its URL begins with https:// or http://")
    if every < timedelta(seconds=1):
        raise click.UsageError("--every: one second at least")
    full, alerts = full_of(context), Alerts()
    while True:
        found = _needs(full)
        try:
            _tell(full, alerts, found, webhook, program)
        except _NotTold as error:
            if once:
                raise Failure(str(error)) from error
            say(one_line(f"Not told, and tried again in {every}: {error}"), err=True)
        if once:
            if found:
                limits.fail_over(context, f"{count_of(len(found), 'thing')} to see to", more=False)
            return
        sleep(every.total_seconds())


def _needs(full: FullResult) -> dict[str, str]:
    try:
        return needs(full.storage, full.settings)
    except StorageError as error:
        return silent_storage(error)


def _tell(
    full: FullResult,
    alerts: Alerts,
    found: dict[str, str],
    webhook: str | None,
    program: str | None,
) -> None:
    it = alerts.look(datetime.now(timezone.utc), found)
    if it is None:
        return
    document = it.document(full.app.main or "app")
    say(one_line(document["text"]))
    body = json.dumps(document).encode()
    if webhook:
        _post(webhook, body)
    if program:
        _run(program, body)
    alerts.told(found)


def _post(url: str, body: bytes) -> None:
    request = Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with _said("the webhook"):
        try:
            urlopen(request, timeout=_PATIENCE).close()  # noqa: S310
        except HTTPError as error:
            error.close()  # it holds the connection
            raise


def _run(program: str, body: bytes) -> None:
    with _said("the command"):
        finished = subprocess.run(
            shlex.split(program), input=body, timeout=_LONGEST_RUN, check=False
        )
        if finished.returncode:
            raise _NotTold(f"the command ended with code {finished.returncode}")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn what goes wrong into a sentence, without the URL, which is a secret of its own."""
    try:
        yield
    except (URLError, HTTPException, OSError, ValueError, subprocess.TimeoutExpired) as error:
        said: Any = getattr(error, "reason", None) or error
        raise _NotTold(f"{what} did not take it: {safe_str(said)[:200]}") from error

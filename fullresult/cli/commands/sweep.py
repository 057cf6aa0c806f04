"""`sweep`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import is_terminal, say
from fullresult.cli.which_app import full_of
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.scheduling.sweepers import Sweepers

_TICK = 0.2
"""Seconds between two updates of the progress."""


@click.command(cls=Command, examples=["sweep", "sweep --loop"])
@click.option("--once", is_flag=True, help="Until nothing is due: the default.")
@click.option("--loop", is_flag=True, help="Until it is stopped.")
@click.pass_context
def sweep(context: click.Context, /, once: bool, loop: bool) -> None:
    """Send the scheduled tasks that are due.

    Any number of sweepers may be at work, on this host and others: each task is sent by one of
    them. With --loop it goes on, and sends each task when it is due. Ctrl-C or SIGTERM ends it
    after the message that it is sending.

    The exit code is 1 if the broker or the storage failed, or if a task could not be sent.
    """
    if once and loop:
        raise click.UsageError("give --once or --loop, not both")
    once = not loop
    sweeper = full_of(context, makes_file=True).parts.new_sweepers()
    with _logged(), _stopped_by_signals(sweeper) as stopped, _counted(sweeper) as look:
        if not once:
            say("Sweeping; Ctrl-C ends it.", err=True)
        error = _in_a_thread(lambda: _sweep(sweeper, once=once), look)
    _report(sweeper, error, unfinished=once and stopped.is_set())


def _sweep(sweeper: Sweepers, *, once: bool) -> None:
    if not once:
        sweeper.run()
        return
    try:
        sweeper.sweep()
    finally:
        sweeper.close()


def _in_a_thread(work: Callable[[], None], look: Callable[[], None]) -> Exception | None:
    """Do *work*, and call *look* every `_TICK` seconds. Returns what *work* raised.

    In a thread of its own no signal interrupts it between sending a message and noting that.
    """
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (it is raised again where the thread is waited for)
            raised.append(error)

    thread = threading.Thread(target=run, name="fullresult-sweep", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_TICK)
        look()
    return raised[0] if raised else None


def _report(sweeper: Sweepers, error: Exception | None, *, unfinished: bool) -> None:
    from fullresult.scheduling.sender import BrokerDown

    swept = sweeper.swept
    sent = f"sent {count_of(swept.sent)}"
    if swept.expired:
        sent += f", {swept.expired:,} had expired"
    if swept.failed:
        sent += f", {swept.failed:,} could not be (see `stale-scheduled`)"
    if isinstance(error, BrokerDown):
        raise Failure(f"the broker does not take messages: {error}; {sent}")
    if isinstance(error, StorageError):
        raise Failure(f"{error}; {sent}")
    if error is not None:
        raise error
    if swept.failed:
        raise Failure(sent)
    if unfinished:
        raise Failure(f"{sent}, and was stopped before all that is due was")
    say(f"{sent[0].upper()}{sent[1:]}.")


@contextmanager
def _stopped_by_signals(sweeper: Sweepers) -> Iterator[threading.Event]:
    """Have the first SIGINT or SIGTERM stop *sweeper*. The next one does what it did before."""
    stopped = threading.Event()
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(*_: object) -> None:
        restore()
        stopped.set()
        sweeper.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()


@contextmanager
def _counted(sweeper: Sweepers) -> Iterator[Callable[[], None]]:
    """A function that shows on a terminal how many tasks were sent."""
    shown = 0

    def look() -> None:
        nonlocal shown
        if shown != sweeper.swept.sent:
            shown = sweeper.swept.sent
            click.echo(f"\r{shown:,} sent", nl=False, file=sys.stderr)

    if not is_terminal(err=True):
        yield lambda: None
        return
    try:
        yield look
    finally:
        if shown:
            say(err=True)


@contextmanager
def _logged() -> Iterator[None]:
    """Print what the sweeper logs, unless the app has a handler for it."""
    logger = logging.getLogger("fullresult")
    if logger.hasHandlers():
        yield
        return
    handler = _Shown(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Shown(logging.Handler):
    """Prints each log record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        say(one_line(record.getMessage()), err=True)

"""`celery -A proj fullresult …`: an app's records on the command line."""

from __future__ import annotations

import click

from fullresult.cli.commands.alert import alert
from fullresult.cli.commands.audit import audit
from fullresult.cli.commands.cancel import cancel
from fullresult.cli.commands.check import check
from fullresult.cli.commands.delete import delete
from fullresult.cli.commands.doctor import doctor
from fullresult.cli.commands.explain import explain
from fullresult.cli.commands.failures import failures
from fullresult.cli.commands.import_ import import_
from fullresult.cli.commands.list_and_count import count, list_
from fullresult.cli.commands.mend import release, resend_scheduled
from fullresult.cli.commands.orphans import orphans
from fullresult.cli.commands.overview import overview
from fullresult.cli.commands.periodic import periodic, trigger
from fullresult.cli.commands.purge import purge
from fullresult.cli.commands.queues import queues
from fullresult.cli.commands.replay import replay
from fullresult.cli.commands.repro import repro
from fullresult.cli.commands.reschedule import reschedule
from fullresult.cli.commands.resend import resend
from fullresult.cli.commands.scheduled import scheduled
from fullresult.cli.commands.send import send
from fullresult.cli.commands.setup import setup
from fullresult.cli.commands.show import show
from fullresult.cli.commands.spool import spool
from fullresult.cli.commands.stale import stale
from fullresult.cli.commands.stale_scheduled import stale_scheduled
from fullresult.cli.commands.stop import revoke, terminate
from fullresult.cli.commands.surgery import fork, heal, resume
from fullresult.cli.commands.sweep import sweep
from fullresult.cli.commands.web import web
from fullresult.cli.commands.workers import workers
from fullresult.cli.errors import Commands

__all__ = ["fullresult"]


_SECTIONS = {
    "Look": (
        *("list", "show", "count", "explain", "failures", "overview", "workers", "queues"),
        "audit",
        *("doctor", "check"),
    ),
    "Find what is lost": ("stale", "orphans", "stale-scheduled"),
    "Mend": ("resend", "replay", "resume", "heal", "fork", "repro"),
    "Stop": ("revoke", "terminate"),
    "Schedule": (
        *("scheduled", "cancel", "reschedule", "release", "resend-scheduled", "sweep"),
        *("periodic", "trigger", "send"),
    ),
    "Run": ("web", "alert", "setup", "purge", "delete", "import", "spool"),
}


@click.group(
    cls=Commands,
    sections=_SECTIONS,
    commands=[
        *(list_, show, explain, count, failures, stale, orphans, resend, delete, purge, setup),
        *(resume, heal, fork, revoke, terminate),
        *(scheduled, cancel, reschedule, stale_scheduled, resend_scheduled, release, sweep),
        *(periodic, trigger, send, overview, workers, queues, doctor, audit),
        import_,
        check,
        repro,
        replay,
        spool,
        web,
        alert,
    ],
    examples=[
        "list --state FAILURE --since 2h",
        "show 3f0c9a4e-…",
        "explain 3f0c9a4e-…",
        "resend --state FAILURE --name 'shop.*' --since 2h",
        "stale --hours 1",
        "scheduled --due-until 'in 2h'",
    ],
)
def fullresult() -> None:
    """Find recorded tasks, see what happened to them, and send them again.

    Exit codes: 0, it is done. 1, it is not, and one sentence says why. 2, wrong usage. 3, there are
    some: of `failures --fail`, `stale --fail`, `orphans --fail`, `workers --fail`, `queues --fail`,
    `alert --once`, `doctor` and `stale-scheduled`.
    """

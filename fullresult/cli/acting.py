"""Acting as the user of this process: `Deeds` whose audit log names them and this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.actions.audit import actor_here
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line

if TYPE_CHECKING:
    from fullresult.actions.deeds import Deeds
    from fullresult.extension import FullResult


def deeds_of(full: FullResult) -> Deeds:
    """What a command may do with the tasks of an app."""
    return full.acting(actor_here("command line", unwritten=_say_unwritten))


def _say_unwritten(why: str) -> None:
    say(f"It is done, but the audit log does not say so: {one_line(why)}", err=True)

"""Acting as the user of this process, by whose name the audit log has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.actions.audit import actor_here
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line

if TYPE_CHECKING:
    from fullresult.actions.deeds import Deeds
    from fullresult.extension import FullResult


def deeds_of(full: FullResult) -> Deeds:
    """The deeds of the user of this process."""
    return full.acting(actor_here("command line", unwritten=say_unwritten))


def say_unwritten(why: str) -> None:
    say(f"What was done stays done, but the audit log does not say so: {one_line(why)}", err=True)

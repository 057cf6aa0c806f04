"""The outcome of a deed as an answer: a success only if something was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.actions.documents import report_document
from fullresult.web.api.operation import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fullresult.actions.batch import Report

ABOUT = (
    "200 if it was done to every task; 207 if to some of them, and `spared`, `failed` and `left` "
    "name the others; 409 if to none. What is `left` was not tried: there was no time, or it "
    "`stopped`; ask for it again."
)


def outcome(report: Report, ids: Sequence[str]) -> Answer:
    document = report_document(report, ids)
    if len(report.done) == len(ids):
        return Answer(document, 200)
    if report.done:
        return Answer(document, 207)
    told = report.stopped or next((fate.problem for fate in report.fates), None)
    return Answer({"detail": f"Nothing was done: {told or 'no task was tried'}", **document}, 409)

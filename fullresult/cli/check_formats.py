"""Findings as text, JSON, annotations of GitHub, and SARIF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fullresult.cli.terminal import bold, is_terminal
from fullresult.insight.check.findings import RULES, Finding, Findings
from fullresult.insight.document import dumps
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, span

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(findings: Findings) -> Iterator[str]:
    for finding in findings.found:
        level = bold(finding.level) if is_terminal() else finding.level
        said = one_line(f"{finding.rule} {finding.task}: {finding.problem}")
        yield f"{level} {said}"
        yield "  " + one_line(f"{_who(finding)}; {finding.heal}")
        if finding.place is not None:
            yield "  " + one_line(f"{_file(finding)}:{finding.place.line}")
    yield _summary(findings)
    for note in findings.notes:
        yield one_line(note)


def as_json(findings: Findings) -> Iterator[str]:
    yield dumps(findings.document)


def as_github(findings: Findings) -> Iterator[str]:
    """Workflow commands: GitHub shows each at its line."""
    for finding in findings.found:
        place = (
            ""
            if finding.place is None
            else f"file={_property(_file(finding))},line={finding.place.line},"
        )
        title = f"title={_property(f'{finding.rule} {finding.task}')}"
        said = one_line(f"{finding.problem}; {_who(finding)}; {finding.heal}").replace("%", "%25")
        yield f"::{finding.level} {place}{title}::{said}"
    yield f"::notice title=fullresult check::{_summary(findings).replace('%', '%25')}"
    for note in findings.notes:
        yield f"::warning title=fullresult check::{one_line(note).replace('%', '%25')}"


def as_sarif(findings: Findings) -> Iterator[str]:
    rules = [{"id": rule, "shortDescription": {"text": said}} for rule, said in RULES.items()]
    driver = {"name": "fullresult", "rules": rules}
    results = [_result(finding) for finding in findings.found]
    # What was not checked: a blind check must not pass for a clean one.
    told = [{"level": "note", "message": {"text": _summary(findings)}}]
    told += [{"level": "warning", "message": {"text": one_line(n)}} for n in findings.notes]
    invocation = {"executionSuccessful": True, "toolExecutionNotifications": told}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    yield dumps({"$schema": _SARIF, "version": "2.1.0", "runs": [run]})


def _result(finding: Finding) -> dict[str, Any]:
    said = one_line(f"{finding.task}: {finding.problem}; {_who(finding)}; {finding.heal}")
    # A viewer makes a link of `[…](…)`, and what came with a task is to make none.
    said = said.replace("](", "] (")
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": finding.level,
        "message": {"text": said},
        "partialFingerprints": {"fullresult/v1": finding.key},
    }
    if finding.place is not None:
        location = {
            "artifactLocation": {"uri": quote(_file(finding))},
            "region": {"startLine": finding.place.line},
        }
        result["locations"] = [{"physicalLocation": location}]
    return result


FORMATS: dict[str, Callable[[Findings], Iterator[str]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}


def _who(finding: Finding) -> str:
    if finding.rule == "FR008" and finding.example is None:
        return "beat will send it"
    verb = "waits" if finding.count == 1 else "wait"
    verb = verb if finding.level == "error" else "called so"
    said = f"{count_of(finding.count)} {verb}"
    if finding.first_due is not None:
        left = (finding.first_due - datetime.now(timezone.utc)).total_seconds()
        if left > 0:
            said += f", the first due in {span(left)}"
        elif finding.level == "error":  # A warning's tasks have mostly ended.
            said += ", the first already due"
    return f"{said}, such as {finding.example}" if finding.example else said


def _summary(findings: Findings) -> str:
    errors = len(findings.errors)
    said = (
        f"{count_of(findings.checked)} checked: {count_of(errors, 'error')}, "
        f"{count_of(len(findings.found) - errors, 'warning')}"
    )
    if findings.known:
        said += f", {count_of(len(findings.known), 'known finding')}"
    if findings.unchecked:
        said += f"; of {count_of(findings.unchecked)} only the name, as no arguments are known"
    return said


def _file(finding: Finding) -> str:
    """Relative to the directory of the run, where GitHub looks for it."""
    assert finding.place is not None
    path = Path(finding.place.file)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _property(text: str) -> str:
    shown = one_line(text).replace("%", "%25")
    return shown.replace(":", "%3A").replace(",", "%2C")

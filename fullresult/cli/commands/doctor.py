"""`doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fullresult.cli.help import Command
from fullresult.cli.limits import FOUND
from fullresult.cli.terminal import bold, dim, in_colour, say
from fullresult.cli.which_app import full_of
from fullresult.insight.doctor.risk import Risk
from fullresult.insight.document import dumps, plain
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of

_COLOUR = {"serious": "FAILURE", "notable": "RETRY"}


@click.command(cls=Command, examples=["doctor", "doctor --offline --json"])
@click.option("--offline", is_flag=True, help="Ask the storage alone, not workers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
@click.pass_context
def doctor(context: click.Context, /, offline: bool, as_json: bool) -> None:
    """Find what makes tasks run twice, late or never, with the evidence from the records.

    Each risk has a sentence, what was seen, why it matters, and what to set. The numbers are of the
    newest 5,000 records of a week. Changes nothing.

    Exit code 3: there are risks.
    """
    found = full_of(context).doctor(offline=offline)
    if as_json:
        risks = [risk.document for risk in found.risks]
        known = {"at": plain(found.at), "risks": risks, "unknown": [*found.unknown]}
        say(dumps({**known, "looked_at": found.looked_at}))
    else:
        for risk in found.risks:
            for line in _lines(risk):
                say(line)
        for why in found.unknown:
            say(f"Not known: {one_line(why)}", err=True)
        number = count_of(len(found.risks), "risk") if found.risks else "No risk"
        say(f"{number} found, in {count_of(found.looked_at, 'record')} of a week.", err=True)
    if found.risks:
        context.exit(FOUND)


def _lines(risk: Risk) -> Iterator[str]:
    label = in_colour(_COLOUR[risk.severity], f"{risk.severity}:")
    yield f"{label} {bold(one_line(risk.sentence))}"
    for told in risk.evidence:
        yield f"  {dim('seen')}  {one_line(told)}"
    yield f"  {dim('why')}   {one_line(risk.why)}"
    yield f"  {dim('set')}   {one_line(risk.advice)}"
    yield ""

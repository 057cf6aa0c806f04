"""`python -m fullresult`: the demo; with `-A proj`, the commands of an app."""

from __future__ import annotations

import sys

import click


@click.group()
def main() -> None:
    """The memory that Celery lacks.

    For the tasks of your own app: celery -A proj fullresult --help, or the same as
    python -m fullresult -A proj --help, which never exits with 0 if the app cannot be imported.
    """


@main.command()
def demo() -> None:
    """Watch a real worker being remembered. Takes half a minute; needs no server.

    On a terminal it ends with a link to its tasks in the pages, until Ctrl-C.
    """
    from fullresult.cli.demo.story import tell

    tell()


def run() -> None:
    """The command line: what begins with an option of Celery's is for an app."""
    first = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if first.startswith("-") and first != "--help":
        from fullresult.cli.door import enter

        enter(sys.argv[1:])
    main(prog_name="python -m fullresult")


if __name__ == "__main__":
    run()

"""`python -m fullresult`: the demo."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """The memory that Celery lacks.

    For the tasks of your own app: celery -A proj fullresult --help
    """


@main.command()
def demo() -> None:
    """Watch a real worker being remembered. Takes half a minute; needs no server.

    On a terminal it ends with a link to its tasks in the pages, until Ctrl-C.
    """
    from fullresult.cli.demo.story import tell

    tell()


if __name__ == "__main__":
    main(prog_name="python -m fullresult")

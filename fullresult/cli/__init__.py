"""`celery -A proj fullresult …`"""

from __future__ import annotations

import click


@click.group()
def fullresult() -> None:
    """Look into the memory of your tasks."""

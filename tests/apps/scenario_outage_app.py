"""The tasks of the scenarios, one that tells how late it is, and one that says that it ran."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.apps.scenario_app import app_of_worker, make_app, task

if TYPE_CHECKING:
    from celery import Task

__all__ = ["app", "make_app"]


@task()
def tell_lateness(published: float, directory: str) -> float:
    """Note, in a file of this process, the seconds since *published* on this host's clock."""
    late = time.time() - published
    _note(directory, f"{published} {late}")
    return late


@task(bind=True)
def work(self: Task, directory: str, seconds: float) -> str:
    """Take so many *seconds*, and note at the end that it was done."""
    time.sleep(seconds)
    _note(directory, self.request.id)
    return str(self.request.id)


def _note(directory: str, line: str) -> None:
    descriptor = os.open(f"{directory}/{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


app = app_of_worker()

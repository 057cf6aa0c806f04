"""Tasks that are to be explained, beside those of `scenario_app`."""

from __future__ import annotations

from tests.apps.scenario_app import app_of_worker, make_app, task

__all__ = ["make_app"]


@task(rate_limit="1/h")
def limited() -> str:
    return "done"


app = app_of_worker()

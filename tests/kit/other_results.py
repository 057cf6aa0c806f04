"""Results of the same tasks as other programs keep them: the real packages write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from fullresult import FullResult

ROOT = Path(__file__).parents[2]
Ids = dict[str, str]


def results_of(**conf: Any) -> Ids:
    """Run tasks whose results are kept as *conf* says. Returns their ids by name.

    In a process of its own: SQLAlchemy has one table of a name in each.
    """
    command = [sys.executable, "-m", "tests.apps.other_results", json.dumps(conf)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def importing(storage: str, **conf: Any) -> FullResult:
    """The `FullResult` that others' results are imported into."""
    app = Celery("ours", set_as_current=False, broker="memory://")
    app.conf.update(fullresult_storage=storage, **conf)
    return FullResult(app)


def database(file: Path) -> str:
    """The URL of Celery's `database` result backend in *file*, with its tables.

    Celery 5.4 makes the tables once in a process, for the first database that it meets.
    """
    from celery.backends.database.models import ResultModelBase
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{file}")
    ResultModelBase.metadata.create_all(engine)
    engine.dispose()
    return f"db+sqlite:///{file}"

"""The commands `spool status` and `spool flush`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.outage.directory import directory_of
from fullresult.outage.spool import Spool
from fullresult.testing import samples
from tests.kit.commands import run


def make_app(url: str, **settings: object) -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=url, fullresult_storage_timeout=0.2, **settings)
    FullResult(app)
    return app


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records' / 'records.db'}"


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    """An app whose storage is not there until its directory is made."""
    app = make_app(url)
    yield app
    app.fullresult.close()


def left_behind(app: Celery, *task_ids: str) -> None:
    """What a process that is gone has kept."""
    directory = directory_of(app.fullresult.settings)
    assert directory is not None
    spool = Spool(directory, 1_000_000)
    for task_id in task_ids:
        assert spool.append(samples.task(task_id))
    spool._after_fork_in_child()


def come_back(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()


def test_of_an_empty_spool_status_says_so(app: Celery) -> None:
    told = run(app, "spool", "status")

    assert told.exit_code == 0
    assert "nothing waits in" in told.stdout


def test_status_tells_how_much_waits_and_for_how_long(app: Celery) -> None:
    left_behind(app, "a", "b")

    told = run(app, "spool", "status")

    assert told.exit_code == 0
    assert told.stdout.startswith("2 events (")
    assert "the oldest for " in told.stdout


def test_status_as_json_has_every_field(app: Celery) -> None:
    left_behind(app, "a", "b")

    found = json.loads(run(app, "spool", "status", "--json").stdout)

    assert (found["events"], found["segments"], found["owned"]) == (2, 1, 0)
    assert found["oldest"] == found["oldest_left"]
    assert found["directory"]
    assert found["bytes"] > 100


def test_flush_writes_what_others_left(app: Celery, tmp_path: Path) -> None:
    left_behind(app, "a", "b")
    come_back(tmp_path)

    told = run(app, "spool", "flush")

    assert told.exit_code == 0, told.stderr
    assert "Wrote 2 events." in told.stdout
    assert app.fullresult.get("a") is not None
    assert "nothing waits" in run(app, "spool", "status").stdout


def test_flush_says_what_remains_while_the_storage_is_away(app: Celery) -> None:
    left_behind(app, "a", "b")

    told = run(app, "spool", "flush")

    assert told.exit_code == 1
    assert "2 events" in told.stderr
    assert "directory must exist" in told.stderr


def test_what_a_living_process_has_just_kept_does_not_remain(
    app: Celery, url: str, tmp_path: Path
) -> None:
    other = make_app(url)
    other.send_task("shop.pay", task_id="a")
    come_back(tmp_path)

    told = run(app, "spool", "flush")

    other.fullresult.close()
    assert told.exit_code == 0, told.stderr


def test_what_a_living_process_cannot_write_remains(app: Celery, tmp_path: Path) -> None:
    directory = directory_of(app.fullresult.settings)
    assert directory is not None
    living = Spool(directory, 1_000_000)
    assert living.append(samples.task("a"))
    (path,) = directory.iterdir()
    path.rename(directory / "0000000000000000-1-a.spool")  # begun long ago
    come_back(tmp_path)

    told = run(app, "spool", "flush")

    assert told.exit_code == 1
    assert "1 of them belong to processes that live" in told.stderr
    assert "Wrote 0 events" in told.stdout
    living._after_fork_in_child()


def test_without_a_spool_the_commands_say_so(url: str) -> None:
    app = make_app(url, fullresult_spool_directory=None)

    status, flush = run(app, "spool", "status"), run(app, "spool", "flush")

    assert "There is no spool" in status.stdout
    assert json.loads(run(app, "spool", "status", "--json").stdout) is None
    assert flush.exit_code == 1
    assert "fullresult_spool_directory is None" in flush.stderr

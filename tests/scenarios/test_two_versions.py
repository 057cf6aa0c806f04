"""An upgrade and a downgrade with workers of both versions at work, on one storage and one spool.

The newer version is this one with what a next one might add: columns and a migration in SQL, a
field and a version on MongoDB, and a field in the lines of the spool.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest

from tests.kit import workers
from tests.kit.scripts import ROOT

pytestmark = pytest.mark.slow
NUMBER = 12
MIGRATION = """-- What a next version adds.
ALTER TABLE fullresult_task ADD COLUMN later text DEFAULT 'later';
ALTER TABLE fullresult_execution ADD COLUMN later integer NOT NULL DEFAULT 7;
ALTER TABLE fullresult_schedule ADD COLUMN later text;
"""
CHANGES = [
    ("fullresult_storage_mongo/indexes.py", "\nVERSION = ", "\nVERSION = 90 + "),
    (
        "fullresult_storage_mongo/merging.py",
        '    parts: list[Any] = ["$$ROOT"]\n',
        '    parts: list[Any] = ["$$ROOT", {"later": 7}]\n',
    ),
    (
        "fullresult_storage_mongo/merging.py",
        "    changed = dict(outcome)\n",
        '    changed = {**outcome, "later": 7}\n',
    ),
    (
        "fullresult/outage/lines.py",
        "        event.own,\n    )\n",
        '        event.own,\n        "later",\n    )\n',
    ),
]
SETUP = """
import json, sys
from celery import Celery
from fullresult import FullResult

app = Celery("setup", set_as_current=False)
app.conf.update(json.loads(sys.argv[1]))
full = FullResult(app)
full.setup()
full.close()
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the newer version is."""
    home = tmp_path_factory.mktemp("newer")
    for name in ("fullresult", "fullresult_storage_sql", "fullresult_storage_mongo"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("apps", "kit"):
        shutil.copytree(ROOT / "tests" / name, home / "tests" / name)
    for dialect in ("postgresql", "sqlite"):
        place = home / "fullresult_storage_sql" / "migrations" / dialect
        (place / "9000_later.sql").write_text(MIGRATION)
    for name, old, new in CHANGES:
        text = (home / name).read_text()
        assert text.count(old) == 1, name
        (home / name).write_text(text.replace(old, new))
    return home


def set_up(home: Path, settings: dict[str, Any]) -> None:
    subprocess.run(
        [sys.executable, "-c", SETUP, json.dumps(settings)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home)},
        check=True,
        timeout=workers.PATIENCE,
    )


def knows_what_is_new(url: str, task_id: str) -> bool:
    """True if the record of *task_id* has what the newer version added."""
    if url.startswith("mongodb"):
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            found = client.get_default_database()["fullresult_task"].find_one({"_id": task_id})
        return found is not None and found.get("later") == 7
    sql = "SELECT later FROM fullresult_task WHERE task_id = "
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return bool(file.execute(sql + "?", [task_id]).fetchone() == ("later",))
    with psycopg.connect(url) as session:
        return session.execute(sql.encode() + b"%s", [task_id]).fetchone() == ("later",)


def send(scene: workers.Scene, queue: str) -> dict[str, str]:
    """Tasks of each kind to one version's *queue*: their ids, and the states they are to end in."""
    sent = {}
    for number in range(NUMBER // 3):
        sent[scene.send("add", number, 1, queue=queue)] = "SUCCESS"
        sent[scene.send("fail", "on purpose", queue=queue)] = "FAILURE"
        sent[scene.send("retry_later", 0, queue=queue)] = "SUCCESS"
    return sent


def all_end(scene: workers.Scene, sent: dict[str, str], worker: str) -> None:
    for task_id, state in sent.items():
        scene.eventually(task_id, workers.has_state(state))
    scene.settle()
    for task_id, state in sent.items():
        record = scene.eventually(task_id, workers.has_state(state), timeout=0)
        workers.assert_consistent(record, worker)


def have_run(sent: dict[str, str], log: str) -> bool:
    """True if *log* tells that each of them came to its end."""
    words = {"SUCCESS": "succeeded in", "FAILURE": "raised"}
    return all(f"[{task_id}] {words[state]}" in log for task_id, state in sent.items())


@pytest.mark.parametrize("write_mode", [pytest.param("direct", marks=pytest.mark.slow), "spooled"])
@pytest.mark.parametrize(
    "storage", workers.storages("sqlite", "postgresql", "mongodb", slow=("postgresql", "mongodb"))
)
def test_workers_of_two_versions_work_side_by_side_up_and_down(
    request: pytest.FixtureRequest,
    redis_url: str,
    tmp_path: Path,
    newer: Path,
    storage: str,
    write_mode: str,
) -> None:
    spool = str(tmp_path / "spool")
    known = {"fullresult_write_mode": write_mode, "fullresult_spool_directory": spool}
    with (
        workers.storage(storage, request, tmp_path) as url,
        workers.scene(redis_url, url, tmp_path, **known) as scene,
    ):
        with scene.worker("-Q", "celery") as old:
            all_end(scene, send(scene, "celery"), old.name)

            set_up(newer, {"fullresult_storage": url})
            with scene.worker("-Q", "new", home=newer) as new:
                of_both = send(scene, "celery"), send(scene, "new")
                all_end(scene, of_both[0], old.name)
                all_end(scene, of_both[1], new.name)
                killed = send(scene, "new")
                assert workers.until(lambda: have_run(killed, new.read_log()))
            # It was killed a moment after: what its spool has is of the newer version.
            assert knows_what_is_new(url, next(iter(of_both[1])))
            all_end(scene, send(scene, "celery"), old.name)

        with scene.worker("-Q", "celery,new") as down:
            all_end(scene, send(scene, "celery"), down.name)
            for task_id, state in killed.items():
                scene.eventually(task_id, workers.has_state(state))
        status = scene.full.spool_status()
        assert status is not None
        assert not status.unread

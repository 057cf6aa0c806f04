"""The file of Flower, written by Flower, read without it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from fullresult.importers.errors import CannotImport
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult import FullResult

# In a process of its own: Flower parses options and makes metrics as it is imported.
_WRITE = """
import shelve, sys
from flower.events import EventsState

state, now = EventsState(max_tasks_in_memory=1000), 1_800_000_000.0

def event(kind, at, **known):
    state.event(dict(type=kind, hostname="w@h", timestamp=now + at, local_received=now + at,
                     clock=1, utcoffset=0, pid=1, **known))

for task_id, args in (("good", "(1, 2)"), ("bad", "('x',)"), ("cut", "('aaa...',)")):
    event("task-sent", 0, uuid=task_id, name="shop.add", args=args, kwargs="{'a': None}",
          queue="q", root_id="root", parent_id=None, retries=0, eta=None, expires=None,
          exchange="", routing_key="celery")
    event("task-received", 1, uuid=task_id, name="shop.add", args=args, kwargs="{'a': None}",
          root_id="root", parent_id=None, retries=0, eta=None, expires=None)
    event("task-started", 2, uuid=task_id)
event("task-succeeded", 3, uuid="good", result="{'x': 1}", runtime=0.5)
event("task-failed", 3, uuid="bad", exception="shop.errors.Empty('no', 2)", traceback="Traceback")
with shelve.open(sys.argv[1], flag="n") as file:
    file["events"], file["counter"] = state, dict(state.counter)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flower") / "flower.db"
    subprocess.run([sys.executable, "-c", _WRITE, path], check=True, timeout=60)
    return path


@pytest.fixture
def full(file: Path, tmp_path: Path) -> FullResult:
    found = importing(f"sqlite:///{tmp_path}/records.db")
    assert found.import_records("flower", str(file)).new == 3
    return found


def test_a_task_has_its_dates_and_its_arguments(full: FullResult) -> None:
    record = full.get("good")

    assert record is not None
    assert (record.state, record.name, record.worker) == ("SUCCESS", "shop.add", "w@h")
    assert (record.args, record.kwargs) == ([1, 2], {"a": None})
    assert record.date_published is not None
    assert record.date_started is not None
    assert record.date_done is not None
    assert (record.date_done - record.date_published).total_seconds() == 3
    assert record.runtime == 0.5
    assert (record.result, record.result_form) == ("{'x': 1}", "repr")
    assert record.root_id == "root"


def test_an_exception_is_read_from_its_repr(full: FullResult) -> None:
    record = full.get("bad")

    assert record is not None
    assert record.exception_type == "shop.errors.Empty"
    assert record.exception_message == "('no', 2)"
    assert record.traceback == "Traceback"


def test_arguments_that_were_cut_are_a_text(full: FullResult) -> None:
    record = full.get("cut")

    assert record is not None
    assert (record.state, record.args, record.argsrepr) == ("STARTED", None, "('aaa...',)")


def test_nothing_of_flower_or_of_the_file_is_imported(file: Path, tmp_path: Path) -> None:
    """Not even in a process that has not Flower."""
    script = (
        "import sys; sys.modules['flower'] = sys.modules['tornado'] = None\n"
        "from tests.kit.other_results import importing\n"
        "full = importing(sys.argv[1])\n"
        "assert full.import_records('flower', sys.argv[2]).new == 3\n"
        "assert 'celery.events.state' not in sys.modules\n"
    )
    url = f"sqlite:///{tmp_path}/records.db"

    subprocess.run([sys.executable, "-c", script, url, file], check=True, timeout=60)


def test_an_interrupted_import_begins_anew(file: Path, tmp_path: Path) -> None:
    """Flower may have written its file again meanwhile, in another order."""
    full = importing(f"sqlite:///{tmp_path}/interrupted.db")

    def advance(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full.import_records("flower", str(file), batch=1, advance=advance)
    assert full.count() == 1

    done = full.import_records("flower", str(file), batch=1)

    assert (done.read, done.new, done.known) == (3, 2, 1)


def test_flowers_file_cannot_be_followed(full: FullResult, file: Path) -> None:
    from fullresult.actions.audit import actor_here
    from fullresult.importers.deed import Wish

    wish = Wish("flower", str(file), follow=True)

    with (
        closing(full.importing(wish, actor_here("python"))) as job,
        pytest.raises(CannotImport, match="as a whole"),
    ):
        job.run()

"""What of a SQLite file is on the disk when a write returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fullresult.record import PENDING, STARTED
from fullresult.storage import Storage, StorageError
from fullresult.testing import open_storage, samples

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of open files")


@contextmanager
def lite(directory: Path, options: str = "") -> Iterator[Storage]:
    storage = open_storage(f"sqlite:///{directory}/tasks.db{options}")
    storage.setup()
    yield storage
    storage.close()


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that this process, and not SQLite by itself, had written to the disk."""
    files: list[str] = []

    def noted(fd: int) -> None:
        files.append(str(Path(f"/proc/self/fd/{fd}").readlink()))

    monkeypatch.setattr(os, "fdatasync", noted)
    return files


def open_files(directory: Path) -> list[str]:
    found = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return [file for file in found if file.startswith(str(directory))]


def test_an_end_waits_for_the_disk_and_what_may_wait_does_not(
    tmp_path: Path, flushed: list[str]
) -> None:
    with lite(tmp_path) as storage:
        storage.write([samples.task("a", state=PENDING)])
        storage.write([samples.became("a", STARTED)])
        before = list(flushed)

        storage.write([samples.event("a", outcome=samples.outcome())])

        asked = vars(storage)["_database"].ask("PRAGMA synchronous", ())
    assert before == []
    assert flushed == [f"{tmp_path}/tasks.db-wal"]
    assert asked == [(1,)]


def test_a_link_to_the_file_leads_to_its_log(tmp_path: Path, flushed: list[str]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "tasks.db").symlink_to(tmp_path / "real" / "file.db")
    with lite(tmp_path / "real"), lite(tmp_path) as storage:
        storage.write([samples.task("a")])

    assert flushed == [f"{tmp_path}/real/file.db-wal"]


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL", "FULL", "EXTRA"])
def test_what_the_url_says_is_left_to_sqlite(
    tmp_path: Path, flushed: list[str], synchronous: str
) -> None:
    with lite(tmp_path, f"?synchronous={synchronous}") as storage:
        storage.write([samples.task("a")])

        asked = vars(storage)["_database"].ask("PRAGMA synchronous", ())
    assert flushed == []
    assert asked == [(["OFF", "NORMAL", "FULL", "EXTRA"].index(synchronous),)]


def test_a_file_without_a_log_is_left_to_sqlite(tmp_path: Path, flushed: list[str]) -> None:
    """There are file systems on which SQLite has none."""
    with lite(tmp_path) as storage:
        (session,) = vars(storage)["_database"]._connections._idle
        session.execute("PRAGMA journal_mode = DELETE")
        session.has_log = False

        storage.write([samples.task("a")])

        asked = session.execute("PRAGMA synchronous").fetchone()
    assert flushed == []
    assert asked == (2,)


def test_a_disk_that_fails_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with lite(tmp_path) as storage:
        monkeypatch.setattr(os, "fdatasync", fail)

        with pytest.raises(StorageError, match="Input/output error"):
            storage.write([samples.task("a")])


def test_closing_leaves_no_file_open(tmp_path: Path) -> None:
    with lite(tmp_path) as storage:
        storage.write([samples.task("a")])
        before = open_files(tmp_path)

        storage.close()

        assert f"{tmp_path}/tasks.db-wal" in before
        assert open_files(tmp_path) == []


def test_what_others_see_of_an_end_is_whole_while_it_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the disk of another: the file is free while it is written."""
    seen: list[Any] = []
    with lite(tmp_path) as storage, lite(tmp_path) as other:

        def look(_: int) -> None:
            monkeypatch.undo()
            other.write([samples.task("b")])
            seen.append(other.get("a"))

        monkeypatch.setattr(os, "fdatasync", look)

        storage.write([samples.task("a")])

        assert seen == [storage.get("a")]

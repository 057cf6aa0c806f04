"""Tables and files that the real packages have written become records, whatever wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from celery.backends.database.models import Task

from fullresult.importers.errors import CannotImport
from tests.kit import servers
from tests.kit.other_results import Ids, importing, results_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import FullResult

slow = pytest.mark.slow


@dataclass
class Written:
    """What a package wrote: where, and the ids of its tasks by name."""

    source: str
    url: str
    ids: Ids
    extended: bool


def _celery(directory: Path, _: pytest.FixtureRequest, *, extended: bool, how: str) -> Written:
    url = f"sqlite:///{directory}/results.db"
    ids = results_of(result_backend=f"db+{url}", result_extended=extended, result_serializer=how)
    return Written("celery", url, ids, extended)


def _postgresql(_: Path, request: pytest.FixtureRequest, *, extended: bool, how: str) -> Written:
    lent = servers.postgresql_database(request.getfixturevalue("postgresql_server"))
    url = lent.__enter__()
    request.addfinalizer(lambda: lent.__exit__(None, None, None))
    backend = "db+" + url.replace("postgresql://", "postgresql+psycopg://")
    ids = results_of(result_backend=backend, result_extended=extended, result_serializer=how)
    return Written("celery", backend, ids, extended)


def _mongodb(_: Path, request: pytest.FixtureRequest, *, extended: bool, how: str) -> Written:
    lent = servers.mongodb_database(request.getfixturevalue("mongodb_single_server"))
    url = lent.__enter__()
    request.addfinalizer(lambda: lent.__exit__(None, None, None))
    ids = results_of(result_backend=url, result_extended=extended, result_serializer=how)
    return Written("celery", url, ids, extended)


def _django(directory: Path, _: pytest.FixtureRequest, *, extended: bool, how: str) -> Written:
    name = f"{directory}/django.db"
    ids = results_of(
        result_backend="django-db",
        result_extended=extended,
        result_serializer=how,
        django={"ENGINE": "django.db.backends.sqlite3", "NAME": name},
    )
    return Written("django-celery-results", f"sqlite:///{name}", ids, extended)


KINDS = {"celery": _celery, "postgresql": _postgresql, "mongodb": _mongodb, "django": _django}


@pytest.fixture(
    scope="module",
    params=[
        ("celery", True, "json"),
        ("django", True, "json"),
        ("mongodb", True, "json"),
        pytest.param(("celery", True, "pickle"), marks=slow),
        pytest.param(("celery", False, "json"), marks=slow),
        pytest.param(("celery", False, "pickle"), marks=slow),
        pytest.param(("postgresql", True, "json"), marks=slow),
        pytest.param(("django", True, "pickle"), marks=slow),
        pytest.param(("django", False, "json"), marks=slow),
        pytest.param(("mongodb", True, "pickle"), marks=slow),
        pytest.param(("mongodb", False, "json"), marks=slow),
    ],
    ids=lambda kind: "-".join(map(str, kind)),
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    kind, extended, how = request.param
    return KINDS[kind](tmp_path_factory.mktemp("others"), request, extended=extended, how=how)


@pytest.fixture(scope="module")
def full(written: Written, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullResult]:
    """With the records imported."""
    found = importing(f"sqlite:///{tmp_path_factory.mktemp('ours')}/records.db")
    done = found.import_records(written.source, written.url)
    assert (done.read, done.new, done.unreadable) == (9, 9, 0)
    yield found
    found.close()


def test_each_task_is_a_record_with_its_end(written: Written, full: FullResult) -> None:
    states = {name: full.get(written.ids[name]) for name in ("exact", "long", "again", "parent")}

    for record in states.values():
        assert record is not None
        assert record.state == "SUCCESS"
        assert record.date_done is not None
    assert full.count(state="FAILURE") == 1


def test_a_result_is_its_value(written: Written, full: FullResult) -> None:
    exact, long = full.get(written.ids["exact"]), full.get(written.ids["long"])

    assert exact is not None
    assert exact.result == {"args": [1, "a"], "kwargs": {"key": [1, {"b": None}]}}
    assert long is not None
    assert long.result == {"args": ["x" * 3000], "kwargs": {}}


def test_an_exception_is_its_class_and_its_text(written: Written, full: FullResult) -> None:
    record = full.get(written.ids["fail"])

    assert record is not None
    assert (record.exception_type, record.exception_message) == ("ValueError", "no secret")
    if written.extended or written.source != "django-celery-results":
        assert "in fail" in (record.traceback or "")


def test_children_are_ids(written: Written, full: FullResult) -> None:
    record = full.get(written.ids["parent"])

    assert record is not None
    kept = written.source != "celery" or hasattr(Task, "children") or "mongodb" in written.url
    assert record.children == ((written.ids["child"],) if kept else ())  # Celery 5.4 keeps none


def test_an_extended_result_says_which_task_it_was(written: Written, full: FullResult) -> None:
    record = full.get(written.ids["exact"])

    assert record is not None
    if not written.extended:
        assert (record.name, record.args, record.worker) == (None, None, None)
        return
    assert record.name == "shop.add"
    assert record.args == [1, "a"]
    assert record.kwargs == {"key": [1, {"b": None}]}
    assert record.worker
    assert record.notes["encoding"].startswith("imported from ")


def test_arguments_that_were_cut_are_a_text(written: Written, full: FullResult) -> None:
    record = full.get(written.ids["long"])

    assert record is not None
    if written.source == "django-celery-results" and written.extended:
        assert record.args is None
        assert "only a text" in record.notes["args"]
        assert (record.argsrepr or "").startswith("('xxx")


def test_what_is_imported_again_changes_nothing(written: Written, full: FullResult) -> None:
    before = full.find(limit=None)

    done = full.import_records(written.source, written.url)

    assert (done.new, done.changed, done.known) == (0, 0, 9)
    assert full.find(limit=None) == before


def test_an_imported_task_can_be_sent_again(written: Written, full: FullResult) -> None:
    from tests.kit.commands import sent

    if not written.extended:
        return
    old = full.get(written.ids["exact"])
    assert old is not None

    new = full.resend(old)

    record = full.get(str(new.id))
    assert record is not None
    assert (record.args, record.kwargs) == (old.args, old.kwargs)
    assert str(new.id) in sent(full.app)


def test_a_dry_run_writes_nothing(written: Written, tmp_path: Path) -> None:
    full = importing(f"sqlite:///{tmp_path}/records.db")

    done = full.import_records(written.source, written.url, dry_run=True)

    assert (done.read, done.new) == (9, 9)
    assert done.states == {"SUCCESS": 8, "FAILURE": 1}
    assert full.count() == 0
    full.close()


def test_a_group_is_restored_from_the_own_result_backend(written: Written, tmp_path: Path) -> None:
    full = importing(f"sqlite:///{tmp_path}/records.db", result_backend="fullresult://")

    done = full.import_records(written.source, written.url)

    restored = full.app.GroupResult.restore(written.ids["group"], backend=full.app.backend)
    assert done.groups == 1
    assert len(restored.results) == 2
    assert restored.get(timeout=5) == [[{"args": [1], "kwargs": {}}], [{"args": [2], "kwargs": {}}]]
    full.close()


def test_the_own_result_backend_needs_no_url(tmp_path: Path) -> None:
    url = f"db+sqlite:///{tmp_path}/results.db"
    ids = results_of(result_backend=url, result_extended=True)
    full = importing(f"sqlite:///{tmp_path}/records.db", result_backend=url)

    done = full.import_records()

    assert done.new == len(ids) + 1  # The group has two members, and no row of its own.
    full.close()


@pytest.mark.parametrize(
    ("source", "url", "why"),
    [
        ("celery", "sqlite:///{}/none.db", "there is no file"),
        ("celery", "sqlite:///{}/empty.db", "celery_taskmeta.* does not exist"),
        ("django-celery-results", "sqlite:///{}/empty.db", "does not exist"),
        ("celery", "oracle+nothing://db/x", "(?i)sqlalchemy|oracle|dialect"),
        ("celery", None, "say where"),
        ("flower", "{}/none.db", "no file"),
        ("flower", "{}/empty.db", "expected: the file of `flower"),
        ("backend", None, "result_backend"),
        ("other", None, "there are backend, "),
    ],
)
def test_a_source_that_is_none_says_what_was_expected(
    tmp_path: Path, source: str, url: str | None, why: str
) -> None:
    (tmp_path / "empty.db").touch()
    full = importing(f"sqlite:///{tmp_path}/records.db")

    with pytest.raises(CannotImport, match=why):
        full.import_records(source, url and url.format(tmp_path))
    full.close()

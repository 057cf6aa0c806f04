"""Installing: two lines in an app, whenever they run, and what is said when they cannot work.

Long because each way to install is a few lines, and there are many.
"""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, shared_task
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult, StorageError, plugins
from fullresult.config import Settings
from tests.kit.scripts import run_script


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.db"


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app with a broker in memory, not configured for fullresult."""
    with Celery("shop", broker="memory://", set_as_current=False) as app:
        yield app
        if full := getattr(app, "fullresult", None):
            full.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty storage of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


# --- The two lines


def test_it_is_found_again_as_an_attribute_of_the_app(app: Celery) -> None:
    full = FullResult(app)

    assert app.fullresult is full
    assert full.app is app


def test_installing_again_is_harmless(app: Celery, storage_url: str) -> None:
    """The same object comes back, and a task is recorded once, not twice."""
    app.conf.fullresult_storage = storage_url

    full = FullResult(app)
    send_task = app.send_task
    again = FullResult(app)
    app.send_task("shop.pay", task_id="one")

    assert again is full
    assert app.send_task is send_task
    assert full.count() == 1


def test_the_current_app_can_be_given_by_its_proxy(app: Celery, storage_url: str) -> None:
    """What is installed is the app behind `celery.current_app`, not whichever is current later."""
    from celery import current_app
    from celery._state import _get_current_app, _set_current_app

    app.conf.fullresult_storage = storage_url
    before = _get_current_app()
    app.set_current()

    try:
        full = FullResult(current_app)
        Celery("another", set_as_current=True)
        app.send_task("shop.pay", task_id="one")
    finally:
        _set_current_app(before)

    assert full.app is app
    assert full.count() == 1


def _configure(app: Celery, url: str) -> None:
    app.conf.update(fullresult_storage=url)


def _configure_from_object(app: Celery, url: str) -> None:
    app.config_from_object({"broker_url": "memory://", "fullresult_storage": url})


def _configure_and_finalise(app: Celery, url: str) -> None:
    app.conf.fullresult_storage = url
    app.finalize()


@pytest.mark.parametrize("configure", [_configure, _configure_from_object, _configure_and_finalise])
@pytest.mark.parametrize("first", [FullResult, "configuration"])
def test_the_order_of_installing_and_configuring_does_not_matter(
    app: Celery, storage_url: str, configure: Any, first: object
) -> None:
    if first is FullResult:
        FullResult(app)
        configure(app, storage_url)
    else:
        configure(app, storage_url)
        FullResult(app)
    app.send_task("shop.pay", task_id="one")

    assert app.fullresult.get("one").name == "shop.pay"
    assert app.fullresult.settings.storage == storage_url


def test_installing_reads_no_configuration_and_opens_nothing(app: Celery, tmp_path: Path) -> None:
    app.config_from_object("no.such.module")

    FullResult(app)

    assert not app.configured
    assert not list(tmp_path.iterdir())


def test_tasks_defined_before_and_after_are_recorded(app: Celery, storage_url: str) -> None:
    app.conf.fullresult_storage = storage_url

    @app.task(name="before", shared=False)  # type: ignore[untyped-decorator]
    def before() -> None: ...

    full = FullResult(app)

    @app.task(name="after", shared=False)  # type: ignore[untyped-decorator]
    def after() -> None: ...

    before.delay()
    after.delay()

    assert {record.name for record in full.find()} == {"before", "after"}


def test_shared_tasks_are_recorded(app: Celery, storage_url: str) -> None:
    """Published and run: both times the app is the one that the task is used with."""
    app.conf.fullresult_storage = storage_url
    full = FullResult(app)

    @shared_task(name="install.shared")  # type: ignore[untyped-decorator]
    def double(n: int) -> int:
        return n * 2

    published = app.tasks["install.shared"].delay(21)
    ran = app.tasks["install.shared"].apply((21,))

    assert {(record.task_id, record.state, record.result) for record in full.find()} == {
        (published.id, "PENDING", None),
        (ran.id, "SUCCESS", 42),
    }


def test_an_app_class_of_ones_own_is_as_good(storage_url: str) -> None:
    class Shop(Celery):  # type: ignore[misc]
        def send_task(self, name: str, *args: Any, **options: Any) -> Any:
            options.setdefault("headers", {})["tenant"] = "acme"
            return super().send_task(name, *args, **options)

    with Shop("shop", broker="memory://", set_as_current=False) as app:
        app.conf.fullresult_storage = storage_url
        full = FullResult(app)

        app.send_task("shop.pay", task_id="one")

        record = full.get("one")
        full.close()
    assert record is not None
    assert record.headers["tenant"] == "acme"


def test_an_app_goes_through_pickle_as_without_it(app: Celery) -> None:
    """Celery pickles apps for pools that spawn; ours must not make that impossible."""
    import pickle

    FullResult(app)

    copy = pickle.loads(pickle.dumps(app))

    assert copy.main == "shop"


# --- Django


DJANGO = """
    import sys
    from django.conf import settings
    settings.configure(
        CELERY_BROKER_URL="memory://",
        CELERY_FULLRESULT_STORAGE=sys.argv[1],
        CELERY_FULLRESULT_IGNORE=["shop.noise"],
        CELERY_FULLRESULT_STORAGE_TIMEOUT=2,
        INSTALLED_APPS=[], DATABASES={}, USE_TZ=True, SECRET_KEY="x",
    )
    import django
    django.setup()
    from celery import Celery
    from fullresult import FullResult

    app = Celery("shop")
    if sys.argv[2] == "before":
        FullResult(app)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    if sys.argv[2] == "after":
        FullResult(app)
    app.send_task("shop.noise")
    app.send_task("shop.pay", task_id="one")
    print(app.fullresult.settings.storage_timeout.total_seconds(), app.fullresult.settings.ignore)
    print([record.name for record in app.fullresult.find()])
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_django_settings_with_the_namespace_celery_are_read(
    tmp_path: Path, storage_url: str, when: str
) -> None:
    """`CELERY_FULLRESULT_STORAGE` and others, installed before or after `config_from_object`."""
    printed = run_script(DJANGO, storage_url, when, directory=tmp_path)

    assert printed.splitlines() == ["2.0 ('shop.noise',)", "['shop.pay']"]


# --- The storage by URL


def test_the_default_is_a_file_in_the_directory_of_the_process(
    app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    FullResult(app)
    app.send_task("shop.pay", task_id="one")

    assert app.fullresult.count() == 1
    file = tmp_path / "fullresult.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_relative_path_stays_the_same_file_when_the_directory_changes(
    app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `celery worker --workdir`, or a daemon that goes to `/`."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    app.conf.fullresult_storage = "sqlite:///here.db"
    full = FullResult(app)
    app.send_task("shop.pay")
    full.close()

    monkeypatch.chdir(tmp_path / "elsewhere")
    app.send_task("shop.pay")

    assert full.count() == 2
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_url_chooses_the_adapter(app: Celery, any_url: str) -> None:
    app.conf.fullresult_storage = any_url

    FullResult(app)
    app.send_task("shop.pay", args=[1], task_id="one")

    assert app.fullresult.get("one").args == [1]


def test_an_unknown_scheme_lists_the_known_ones(app: Celery) -> None:
    app.conf.fullresult_storage = "oracle://user:secret@host/database"

    with pytest.raises(ImproperlyConfigured) as raised:
        FullResult(app).count()

    message = str(raised.value)
    assert "fullresult_storage" in message
    assert "'oracle'" in message
    assert "known schemes: django, mongodb, mongodb+srv, postgres, postgresql, sqlite" in message
    assert "secret" not in message


MISSING_DRIVER = """
    import sys
    sys.modules["psycopg"] = None
    from celery import Celery
    from celery.exceptions import ImproperlyConfigured
    from fullresult import FullResult
    app = Celery("shop", broker="memory://")
    app.conf.fullresult_storage = "postgresql://shop:secret@localhost/shop"
    try:
        FullResult(app).count()
    except ImproperlyConfigured as error:
        print(error)
"""


def test_a_missing_driver_names_the_extra_that_brings_it(tmp_path: Path) -> None:
    printed = run_script(MISSING_DRIVER, directory=tmp_path)

    assert 'pip install "fullresult[postgresql]"' in printed
    assert "secret" not in printed


def _distribution(directory: Path, name: str, entry_points: str) -> None:
    """Something that looks like an installed distribution."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fullresult.storage]\n{entry_points}\n")


ASK = """
    import sys
    sys.path.append(sys.argv[1])
    from celery import Celery
    from celery.exceptions import ImproperlyConfigured
    from fullresult import FullResult
    app = Celery("shop", broker="memory://")
    app.conf.fullresult_storage = sys.argv[2]
    try:
        print(FullResult(app).count())
    except ImproperlyConfigured as error:
        print(error)
"""


def test_two_distributions_that_offer_one_scheme_are_both_named(tmp_path: Path) -> None:
    _distribution(tmp_path, "rival-records", "sqlite = no_such_module")

    printed = run_script(ASK, tmp_path, "sqlite:///records.db", directory=tmp_path)

    assert "the scheme 'sqlite' is served by fullresult and rival-records" in printed
    assert not (tmp_path / "records.db").exists()


def test_an_adapter_of_another_distribution_is_found_by_its_scheme(tmp_path: Path) -> None:
    """And adapters that nobody asked for are not loaded: one of them cannot be imported."""
    _distribution(tmp_path, "paper-records", "paper = paper_records\nbroken = no_such_module")
    (tmp_path / "paper_records.py").write_text(
        "from fullresult.hookspecs import hookimpl\n"
        "class Paper:\n"
        "    def count(self, query): return 7\n"
        "@hookimpl\n"
        "def fullresult_open_storage(url, settings):\n"
        "    return Paper() if url == 'paper://desk' else None\n"
    )

    answered = run_script(ASK, tmp_path, "paper://desk", directory=tmp_path)
    declined = run_script(ASK, tmp_path, "paper://floor", directory=tmp_path)

    assert answered == "7"
    assert "'paper://floor': its adapter does not take this URL" in declined


def test_one_distribution_found_twice_on_the_path_is_no_conflict(tmp_path: Path) -> None:
    """As happens with an editable install beside its sources."""
    once, twice = tmp_path / "once", tmp_path / "twice"
    for directory in (once, twice):
        directory.mkdir()
        _distribution(directory, "fullresult", "sqlite = fullresult_storage_sql.plugin")

    printed = run_script(
        ASK, once, "sqlite:///records.db", directory=tmp_path, PYTHONPATH=str(twice)
    )

    assert printed == "0"


# --- The configuration


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("fullresult_storage", "records.db", "a URL such as sqlite:///fullresult.db"),
        ("fullresult_storage", 5, "a URL such as"),
        ("fullresult_storage", "sqlite://records.db", "write sqlite:///relative.db"),
        ("fullresult_storage", "sqlite:///", "write sqlite:///relative.db"),
        ("fullresult_storage", "sqlite:///a.db?mode=ro", "the only option is synchronous"),
        ("fullresult_storage", "sqlite:///a.db?synchronous=maybe", "OFF, NORMAL, FULL, EXTRA"),
        ("fullresult_storage", "postgresql://host/db?prepare=maybe", "on or off"),
        ("fullresult_track_publish", "yes", "True or False"),
        ("fullresult_use_json", 1, "True or False"),
        ("fullresult_force_json", "no", "True or False"),
        ("fullresult_auto_setup", 0, "True or False"),
        ("fullresult_ignore", 5, "a name or a list of names"),
        ("fullresult_ignore", ["shop.*", 5], "a list of names"),
        ("fullresult_index_kwargs", {"a": 1}, "a name or a list of names"),
        ("fullresult_storage_timeout", "soon", "a timedelta, seconds, or text such as '90m'"),
        ("fullresult_storage_timeout", 0, "longer than 0"),
        ("fullresult_storage_timeout", float("nan"), "a timedelta, seconds"),
        ("fullresult_storage_timeout", timedelta(days=-1), "longer than 0"),
        ("fullresult_stale_after", True, "a timedelta, seconds"),
        ("fullresult_stale_after", 1e300, "a timedelta, seconds"),
        ("fullresult_max_text", 0, "a whole number of at least 1"),
        ("fullresult_max_text", "1MB", "a whole number of at least 1"),
        ("fullresult_max_body", 1.5, "a whole number of at least 1"),
    ],
)
def test_a_bad_value_names_its_key_and_what_it_should_be(
    app: Celery, key: str, value: object, wanted: str
) -> None:
    app.conf[key] = value

    with pytest.raises(ImproperlyConfigured) as raised:
        FullResult(app).count()

    assert key in str(raised.value)
    assert wanted in str(raised.value)


def test_every_key_has_a_reader_and_unset_keys_their_defaults(app: Celery) -> None:
    app.conf.update(fullresult_storage_timeout=None, fullresult_ignore=None)

    settings = Settings.of(app)

    assert settings == Settings(namespace=settings.namespace)  # it depends on the broker
    assert settings.storage == "sqlite:///fullresult.db"


def test_a_bad_value_is_told_to_who_publishes(app: Celery) -> None:
    """It is a mistake of the program, as a bad broker URL is, not a failure to live with."""
    app.conf.fullresult_storage = "oracle://host"
    FullResult(app)

    with pytest.raises(ImproperlyConfigured):
        app.send_task("shop.pay")


# --- What gets loaded


IMPORTS = """
    import json, sys
    stages, before = [], set(sys.modules)  # what measures the coverage has loaded some already
    def note():
        stages.append([name for name in ("psycopg", "sqlite3", "celery", "celery.worker",
            "fullresult_storage_sql.sqlite", "fullresult_storage_sql.postgresql")
            if name in sys.modules and name not in before])
    import fullresult
    note()
    from celery import Celery
    from fullresult import FullResult
    app = Celery("shop", broker="memory://")
    FullResult(app)
    note()
    app.fullresult.count()
    note()
    print(json.dumps(stages))
"""


def test_importing_and_installing_load_no_driver(tmp_path: Path) -> None:
    """And what is loaded at the first use is only what the URL asks for."""
    printed = run_script(IMPORTS, directory=tmp_path)

    imported, installed, used = json.loads(printed)
    assert imported == []
    assert not {"psycopg", "sqlite3", "fullresult_storage_sql.sqlite"} & set(installed)
    assert "fullresult_storage_sql.sqlite" in used
    assert not {"psycopg", "fullresult_storage_sql.postgresql"} & set(used)


# --- The schema


SETUP_AT_ONCE = """
    import multiprocessing, sys
    from celery import Celery
    from fullresult import FullResult

    def write(number, barrier):
        app = Celery("shop", broker="memory://")
        app.conf.update(fullresult_storage=sys.argv[1], fullresult_storage_timeout=30)
        barrier.wait(30)
        full = FullResult(app)
        if number % 2:
            full.setup()
        app.send_task("shop.pay", task_id=f"task-{number}")
        app.fullresult.close()

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(20)
    processes = [fork.Process(target=write, args=(n, barrier)) for n in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    app = Celery("shop", broker="memory://")
    app.conf.fullresult_storage = sys.argv[1]
    print(FullResult(app).count())
    sys.exit(any(process.exitcode for process in processes))
"""


def test_twenty_processes_may_set_up_one_empty_storage_at_once(
    tmp_path: Path, any_url: str
) -> None:
    """Half of them by `setup()`, half by simply publishing; every one's record is there."""
    printed = run_script(SETUP_AT_ONCE, any_url, directory=tmp_path)

    assert printed == "20"


def test_without_auto_setup_it_refuses_until_it_is_set_up(
    app: Celery, any_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A question is refused, saying what to run; a task goes out all the same, with one warning."""
    app.conf.update(fullresult_storage=any_url, fullresult_auto_setup=False)
    full = FullResult(app)

    with pytest.raises(StorageError, match="run `celery -A proj fullresult setup`"):
        full.count()
    with caplog.at_level(logging.WARNING):
        app.send_task("shop.pay", task_id="unrecorded")
        app.send_task("shop.pay", task_id="unrecorded too")
    full.setup()

    assert full.count() == 0
    assert len([line for line in caplog.records if line.name.startswith("fullresult")]) == 1


def test_a_schema_made_from_the_printed_sql_is_as_good(app: Celery, any_url: str) -> None:
    """For those whose database is set up by somebody else."""
    app.conf.update(fullresult_storage=any_url, fullresult_auto_setup=False)
    full = FullResult(app)

    _run_sql(any_url, plugins.schema_sql(full.settings) or "")
    app.send_task("shop.pay", task_id="one")
    full.setup()

    assert [record.task_id for record in full.find()] == ["one"]


def _run_sql(url: str, sql: str) -> None:
    if url.startswith("sqlite"):
        import sqlite3

        database = sqlite3.connect(url.removeprefix("sqlite:///"))
        database.executescript(sql)
        database.close()
        return
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(sql.encode())


# --- Forks


FORK = """
    import os, sys
    from celery import Celery
    from fullresult import FullResult

    app = Celery("shop", broker="memory://")
    app.conf.fullresult_storage = sys.argv[1]
    full = FullResult(app)
    app.send_task("shop.pay", task_id="parent before")

    children = []
    for number in range(4):
        pid = os.fork()
        if not pid:
            for n in range(20):
                app.send_task("shop.pay", task_id=f"child {number} {n}")
            os._exit(0 if full.get(f"child {number} 19") and full.get("parent before") else 1)
        children.append(pid)
    for n in range(20):
        app.send_task("shop.pay", task_id=f"parent {n}")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    app.send_task("shop.pay", task_id="parent after")
    print(codes, full.count(), full.get("parent after").state)
"""


def test_a_forked_child_records_on_a_connection_of_its_own(tmp_path: Path, any_url: str) -> None:
    """And the parent's goes on working, during and after."""
    printed = run_script(FORK, any_url, directory=tmp_path)

    assert printed == "[0, 0, 0, 0] 102 PENDING"


MULTIPROCESSING = """
    import multiprocessing, sys
    from celery import Celery
    from fullresult import FullResult

    def publish(number):
        app.send_task("shop.pay", task_id=f"task-{number}")
        return number

    app = Celery("shop", broker="memory://")
    app.conf.fullresult_storage = sys.argv[1]
    full = FullResult(app)
    full.count()
    if __name__ == "__main__":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(publish, range(50), chunksize=5)
            pool.close()
            pool.join()
        print(full.count())
"""


def test_a_process_pool_records_from_its_children(tmp_path: Path, any_url: str) -> None:
    printed = run_script(MULTIPROCESSING, any_url, directory=tmp_path)

    assert printed == "50"

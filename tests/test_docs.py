"""The documentation says what there is: every key, command and name, with examples that run.

Long because each kind of promise that the documentation makes is one short test.
"""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click
import pytest
from celery import Celery
from click.testing import CliRunner

import fullresult
from fullresult.actions import resend
from fullresult.cli.group import fullresult as commands
from fullresult.config import Settings, duration
from fullresult.record import STATES
from tests.kit.layers import LAYERS
from tests.kit.sentences import one_sentence_a_line

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]
BESIDE_DOCS = (
    "SECURITY.md",
    "benchmarks/README.md",
    "examples/adapter/README.md",
    "examples/django/README.md",
)
IN_FORM = [*PAGES, *(ROOT / name for name in BESIDE_DOCS)]
COMMANDS: list[tuple[str, click.Command]] = sorted(commands.commands.items())

_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return _CODE.sub("", page(path))


def blocks(path: Path, language: str) -> list[str]:
    return [code for kind, code in _CODE.findall(page(path)) if kind == language]


def section(path: Path, title: str) -> str:
    """What stands under the heading *title*, up to the next heading of any level."""
    found = re.search(
        rf"^#+ +`?{re.escape(title)}`?\n(.*?)(?=^#|\Z)", prose(path), re.MULTILINE | re.DOTALL
    )
    assert found, f"{path.name} has no section {title}"
    return found[1]


def anchors(path: Path) -> set[str]:
    """The anchors that the site showing Markdown gives to the headings of a page."""
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(prose(path)))
    return {title.strip().replace(" ", "-") for title in plain}


def options(command: click.Command) -> set[str]:
    """All spellings of a command's options, or its commands', but those that are hidden."""
    under = command.commands.values() if isinstance(command, click.Group) else ()
    shown = (p for p in command.params if isinstance(p, click.Option) and not p.hidden)
    own = {option for p in shown for option in (*p.opts, *p.secondary_opts)}
    return own.union(*map(options, under))


def command_section(name: str) -> str:
    """What is said of a command, with the section on filters if it refers to that."""
    path = DOCS / "commands.md"
    text = section(path, name)
    return text + section(path, "Which tasks") if "(#which-tasks)" in text else text


def public(kind: type) -> set[str]:
    """The names of the fields, properties and methods of a class."""
    annotated = {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}
    return {name for name in {*dir(kind), *annotated} if not name.startswith("_")}


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_setting_has_a_section_that_names_its_default(field: Any) -> None:
    key = f"fullresult_{field.name}"

    default = re.search(r"^Default: `(.+)`$", section(DOCS / "configuration.md", key), re.MULTILINE)

    assert default, f"{key} has no line `Default: …`"
    app = Celery(set_as_current=False)
    by_itself = getattr(Settings.of(app), field.name)
    app.conf[key] = ast.literal_eval(default[1])
    assert getattr(Settings.of(app), field.name) == by_itself


def test_no_page_names_a_setting_that_is_not_there() -> None:
    known = {f"fullresult_{field.name}" for field in fields(Settings)}
    other = {
        "fullresult_task",
        "fullresult_execution",
        "fullresult_schema",
        "fullresult_storage_sql",
    }
    other |= {"fullresult_open_storage", "fullresult_schema_sql", "fullresult_router"}
    other |= {"fullresult_outbox_writer", "fullresult_pausing"}
    other |= {"fullresult_original_id", "fullresult_schedule_id", "fullresult_storage_journal"}
    other |= {"fullresult_schedule", "fullresult_sweep", "fullresult_prefix"}
    other |= {
        "fullresult_group",
        "fullresult_chord",
        "fullresult_chord_body",
        "fullresult_chord_member",
    }
    other |= {"fullresult_storage_mongo", "fullresult_worker", "fullresult_triggered"}
    other |= {"fullresult_worker_card", "fullresult_worker_names"}
    other |= {"fullresult_audit", "fullresult_audit_task", "fullresult_failure"}
    other |= {"fullresult_replay", "fullresult_replayed", "fullresult_pause"}
    # The metrics.
    other |= {"fullresult_tasks", "fullresult_stale_tasks", "fullresult_stale_scheduled_tasks"}
    other |= {"fullresult_sweeper_lag_seconds", "fullresult_last_sweep_timestamp_seconds"}
    other |= {"fullresult_recent_tasks", "fullresult_recent_exact"}
    other |= {"fullresult_recent_failures", "fullresult_stale_outbox_tasks"}
    other |= {"fullresult_recent_wait_seconds", "fullresult_recent_run_seconds"}
    other |= {"fullresult_replays"}
    other |= {"fullresult_replica_is_read", "fullresult_replica_behind_seconds"}
    other |= {"fullresult_workers_alive", "fullresult_workers_gone", "fullresult_orphaned_tasks"}
    of_queues = ("ready", "recorded", "oldest_seconds", "consumers", "unconsumed", "paused")
    other |= {f"fullresult_queue_{n}" for n in (*of_queues, "in_per_minute", "out_per_minute")}
    pages = [path for path in PAGES if path.name != "design.md"]

    named = {
        name for path in pages for name in re.findall(r"\bfullresult_[a-z_]*[a-z]", page(path))
    }

    assert named <= known | other


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_option_of_a_command_is_in_its_section(name: str, command: click.Command) -> None:
    text = command_section(name)

    for option in options(command):
        assert re.search(rf"`{option}\b", text), f"{name} {option} is not documented"


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_no_section_of_a_command_names_an_option_that_is_not_there(
    name: str, command: click.Command
) -> None:
    named = set(re.findall(r"(?<=`)--[a-z][a-z-]*", command_section(name)))

    assert named <= options(command)


def test_every_command_line_in_the_docs_has_options_that_exist() -> None:
    lines = [
        line
        for path in PAGES
        for code in blocks(path, "console")
        for line in code.splitlines()
        if " fullresult " in line and "celery -A" in line
    ]

    assert lines
    for line in lines:
        name, *words = re.split(r"[#|]", line)[0].split(" fullresult ")[1].split()
        named = {word for word in words if word.startswith("--")}
        assert named <= options(commands.commands[name]), line


def test_every_command_explains_itself() -> None:
    for name, _ in COMMANDS:
        answer = CliRunner().invoke(commands, [name, "--help"])

        assert answer.exit_code == 0, answer.output


def test_every_public_name_is_in_the_api_page() -> None:
    headings_and_tables = page(DOCS / "api.md")

    for name in fullresult.__all__:
        assert f"`{name}" in headings_and_tables or f"## {name}" in headings_and_tables, name


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        # Derived from other fields, for storages.
        ("TaskQuery", {"states", "position", "name_is_glob"}),
        ("TaskRecord", set()),
        ("Execution", set()),
        ("FullResult", set()),
    ],
)
def test_every_field_and_method_of_a_public_class_is_in_the_api_page(
    name: str, left_out: set[str]
) -> None:
    # A subsection belongs to its section.
    text = page(DOCS / "api.md").split(f"\n## {name}\n")[1].split("\n## ")[0]

    for member in public(getattr(fullresult, name)) - left_out:
        assert re.search(rf"`(full\.)?{member}\b", text), f"{name}.{member} is not documented"


@pytest.mark.parametrize("option", sorted(resend._OPTIONS))
def test_every_option_of_a_resend_is_in_its_page(option: str) -> None:
    assert f"`{option}" in page(DOCS / "resending.md")


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_explained(state: str) -> None:
    assert f"`{state}`" in section(DOCS / "recording.md", "The states")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_python_block_compiles(path: Path) -> None:
    for code in blocks(path, "python"):
        compile(code, str(path), "exec")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_between_pages_resolves(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{path.name} links to {link}"


def test_the_readme_names_every_page() -> None:
    linked = set(_LINK.findall(page(ROOT / "README.md")))

    assert {f"docs/{path.name}" for path in DOCS.glob("*.md")} <= linked


def drawn_in(block: str) -> set[str]:
    """The paths of a drawn tree, in which two spaces lead one folder down."""
    found, above = set(), ""
    for line in filter(str.strip, block.splitlines()):
        name = line.split()[0]
        above = above if line.startswith("  ") else name
        found.add(above + name if line.startswith("  ") else name)
    return found


def test_the_map_has_every_room_and_no_other() -> None:
    core, tests = ROOT / "fullresult", ROOT / "tests"
    rooms = {f"fullresult/{path.parent.name}/" for path in core.glob("*/__init__.py")}
    loose = {f"fullresult/{path.name}" for path in core.glob("*.py") if path.name[0] != "_"}
    of_tests = {f"tests/{path.parent.name}/" for path in tests.glob("*/*.py")}
    beside = {path for path in of_tests if path.replace("tests", "fullresult", 1) not in rooms}

    drawn = drawn_in(blocks(ROOT / "CONTRIBUTING.md", "")[0])

    inside = {path for path in drawn if path.startswith(("fullresult/", "tests/"))}
    assert inside - {"fullresult/", "tests/"} == rooms | loose | beside
    assert not [path for path in drawn if not (ROOT / path).exists()]


def test_the_map_stands_in_the_order_of_the_layers() -> None:
    drawn = [line.split()[0] for line in blocks(ROOT / "CONTRIBUTING.md", "")[0].splitlines()]
    order = [name for layer in LAYERS for name in layer]

    rooms = [name[:-1] for name in drawn if name[:-1] in order and name.endswith("/")]

    assert rooms[1:] == sorted(rooms[1:], key=depth)


def depth(room: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if room in layer)


@pytest.mark.parametrize("path", [ROOT / "CONTRIBUTING.md", DOCS / "design.md"])
def test_pages_for_contributors_name_only_places_that_exist(path: Path) -> None:
    rooms = [file.parent.name for file in (ROOT / "fullresult").glob("*/__init__.py")]
    files = r"`((?:fullresult|tests|docs|examples|benchmarks)\w*/[\w/.]*)`"
    modules = rf"`(({'|'.join(rooms)})\.\w+)`"

    named = [ROOT / name for name in re.findall(files, prose(path))]
    named += [
        ROOT / "fullresult" / f"{name.replace('.', '/')}.py"
        for name, _ in re.findall(modules, prose(path))
    ]

    assert len(named) > 10
    assert not [place for place in named if not place.exists()]


@pytest.mark.parametrize("path", IN_FORM, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_has_one_sentence_a_line(path: Path) -> None:
    """`python -m tests.kit.sentences` puts it into this form."""
    assert one_sentence_a_line(page(path)) == page(path)


def test_the_readme_has_the_two_commands_that_need_nothing_but_pip() -> None:
    text = page(ROOT / "README.md")

    assert "pip install nox && nox -s demo" in text
    assert "pip install nox && nox -s tests" in text


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Celery]:
    """An app of which the examples speak."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'records.db'}"
    app.conf.task_default_queue = tmp_path.name
    full = fullresult.FullResult(app)
    yield app
    full.close()


def names(app: Celery) -> dict[str, Any]:
    """What the examples take for granted: the app, its tasks and a task that was published."""

    def charge(order_id: int, amount: float) -> dict[str, float]:
        return {"total": order_id * amount}

    def login(user: str, password: str) -> None: ...

    tasks = {
        task.__name__: app.task(name=f"shop.{task.__name__}")(task) for task in (charge, login)
    }
    return {"app": app, **tasks, "task_id": tasks["charge"].delay(order_id=7, amount=1).id}


def test_the_examples_of_the_api_page_run_from_top_to_bottom(
    shop: Celery, capsys: pytest.CaptureFixture[str]
) -> None:
    known = names(shop)

    for code in blocks(DOCS / "api.md", "python"):
        exec(compile(code, "api.md", "exec"), known)

    assert "shop.charge PENDING" in capsys.readouterr().out


def test_the_examples_of_recording_and_removing_run(shop: Celery) -> None:
    known = names(shop)
    examples = [
        *blocks(DOCS / "recording.md", "python"),
        *(code for code in blocks(DOCS / "databases.md", "python") if "delete(" in code),
    ]

    for code in examples:
        exec(compile(code, "example", "exec"), known)

    hidden = shop.fullresult.find(name="shop.login")
    assert [record.argsrepr for record in hidden] == ["('ada', '***')"]
    assert [record.args for record in hidden] == [None]


def test_the_examples_of_scheduling_run_from_top_to_bottom(shop: Celery) -> None:
    shop.conf.fullresult_schedule_eta = True
    known = {**names(shop), "datetime": datetime, "timedelta": timedelta, "timezone": timezone}
    settings = ("app.conf.fullresult_storage", "app.conf.fullresult_namespace")

    for code in blocks(DOCS / "scheduling.md", "python"):
        if not code.startswith(settings):
            exec(compile(code, "scheduling.md", "exec"), known)

    waiting = shop.fullresult.scheduled()
    assert [schedule.name for schedule in waiting] == ["shop.charge"] * 2
    assert shop.fullresult.get(known["task"].id).state == "REVOKED"


def test_the_examples_of_replays_run_from_top_to_bottom(shop: Celery) -> None:
    known = {**names(shop), "full": shop.fullresult}

    for code in blocks(DOCS / "replay.md", "python"):
        exec(compile(code, "replay.md", "exec"), known)

    states = [replay.state for replay in shop.fullresult.replays.list()]
    assert states == ["UNDONE"]


def test_the_settings_in_the_examples_are_taken() -> None:
    for path in (DOCS / "configuration.md", DOCS / "databases.md"):
        for code in blocks(path, "python"):
            app = Celery(set_as_current=False)
            if "app.conf" in code:
                exec(compile(code, path.name, "exec"), {"app": app})
            Settings.of(app)


@pytest.mark.parametrize("literal", re.findall(r'`"(\d\w+)"`', page(DOCS / "configuration.md")))
def test_every_length_of_time_in_the_docs_is_one(literal: str) -> None:
    assert duration(literal)


def test_the_statements_that_run_on_both_databases_run_on_sqlite(
    shop: Celery, tmp_path: Path
) -> None:
    if sqlite3.sqlite_version_info < (3, 38):
        pytest.skip(f"SQLite {sqlite3.sqlite_version} has no ->>")
    names(shop)
    portable = blocks(DOCS / "databases.md", "sql")[0]
    connection = sqlite3.connect(tmp_path / "records.db")

    for statement in portable.replace("= '7'", "= 7").split(";\n"):
        found = connection.execute(statement).fetchall()
        assert found or "kwargs" not in statement
    connection.close()


def test_the_statements_of_the_docs_run_on_postgresql(postgresql_url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = postgresql_url
    full = fullresult.FullResult(app)
    names(app)
    statements = [
        code for code in blocks(DOCS / "databases.md", "sql") if not code.startswith("GRANT")
    ]

    with psycopg.connect(postgresql_url) as connection:
        for statement in ";\n".join(statements).split(";\n"):
            if statement.strip():
                found = connection.execute(statement).fetchall()
                assert found or "kwargs" not in statement

    full.close()

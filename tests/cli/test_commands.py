"""The command line: in this process where a function will do, through `celery` where it matters.

Long because it has a section for each command, all run on the same project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from celery import Celery
from celery.app.task import Context
from click.testing import Result

from fullresult import FullResult
from fullresult.cli import typed_values
from fullresult.cli.group import fullresult
from fullresult.cli.table import fields, show_records
from fullresult.cli.terminal import fit, width
from fullresult.insight.safe_text import lines, one_line, safe
from fullresult.insight.words import span
from fullresult.record import TaskRecord
from fullresult.testing import samples
from tests.kit import workers
from tests.kit.commands import on_a_terminal, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.servers import FilesystemBroker

HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\r\n\tSUCCESS\x9b31m\u202egnp\u2028\x00\ud800"
_APP = """
from celery import Celery
from fullresult import FullResult

app = Celery("proj")
app.conf.update({settings!r})
FullResult(app)
"""


@pytest.fixture
def app(tmp_path: Path, filesystem_broker: FilesystemBroker) -> Iterator[Celery]:
    """A recorded app with a broker and an empty memory."""
    app = Celery("proj", set_as_current=False)
    app.conf.update(_settings(tmp_path, filesystem_broker))
    full = FullResult(app)
    (tmp_path / "memory.db").touch()
    yield app
    full.close()
    app.close()


@pytest.fixture
def proj(tmp_path: Path, filesystem_broker: FilesystemBroker) -> Path:
    """A directory with `proj.py`, whose app has the memory and broker of `app`."""
    (tmp_path / "proj.py").write_text(_APP.format(settings=_settings(tmp_path, filesystem_broker)))
    return tmp_path


def _settings(directory: Path, broker: FilesystemBroker) -> dict[str, Any]:
    return {**broker.settings, "fullresult_storage": f"sqlite:///{directory / 'memory.db'}"}


def _celery(
    directory: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        cwd=directory,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _fail(app: Celery, task_id: str, error: BaseException | None = None) -> None:
    """What a worker would tell of a task that it started and could not finish."""
    name, recorder = "shop.charge", app.fullresult.recorder
    request = Context({"id": task_id, "hostname": "w@host", "args": [], "kwargs": {}})
    recorder.started(task_id, name, request)
    recorder.failed(task_id, name, request, error or KeyError("card"), None)


def _record_without_message(app: Celery, task_id: str) -> None:
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord(task_id, now, now)])


def _one_sentence(result: Result | subprocess.CompletedProcess[str]) -> str:
    """The one line of standard error, which is no traceback."""
    (line,) = [line for line in result.stderr.splitlines() if line]
    assert line.startswith("Error: ")
    assert "Traceback" not in line
    return line


# --- list, count


def test_list_shows_the_newest_first_with_tabs_in_a_pipe(app: Celery) -> None:
    app.send_task("shop.charge", (7,), {"card": "x"}, task_id="old")
    app.send_task("shop.receipt", task_id="new")

    result = run(app, "list")

    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["new", "old"]
    assert rows[1][1:3] == ["PENDING", "shop.charge"]
    assert rows[1][8] == "shop.charge(7, card='x')"


@pytest.mark.parametrize(
    "filters",
    [
        ["--name", "shop.charge"],
        ["--name", "*charge"],
        ["--state", "failure"],
        ["--state", "FAILURE", "--state", "REVOKED"],
        ["--queue", "urgent"],
        ["--worker", "w@host"],
        ["--root-id", "a"],
        ["--group-id", "g"],
        ["--text", "keyERR"],
        ["--kwarg", "order_id=7"],
        ["--kwarg", "order_id=7", "--kwarg", "card=abc"],
        ["--kwarg", 'address={"city": "Ulm"}'],
        ["--arg", "1", "--arg", "two"],
        ["--arg-at", "0=1", "--arg-at", "1=two"],
        ["--exception", "KeyError"],
        ["--since", "1h", "--kwarg", "order_id=7"],
        ["--until", "2999-01-01", "--arg", "1"],
        ["--oldest-first", "--limit", "1"],
    ],
    ids=" ".join,
)
def test_every_filter_narrows(app: Celery, filters: list[str]) -> None:
    app.send_task(
        "shop.charge",
        (1, "two"),
        {"order_id": 7, "card": "abc", "address": {"city": "Ulm", "zip": "1"}},
        task_id="a",
        root_id="a",
        group_id="g",
        queue="urgent",
    )
    _fail(app, "a")
    app.send_task("shop.other", (2, "two"), {"order_id": "7"}, task_id="b")

    result = run(app, "list", *filters)

    assert result.exit_code == 0, result.output
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a"]


def test_a_kwarg_that_is_no_json_is_a_string_and_quotes_make_it_one(app: Celery) -> None:
    app.send_task("t", kwargs={"order": "7", "word": "NaN"}, task_id="a")

    counts = [
        run(app, "count", "--kwarg", pair).stdout.strip()
        for pair in ("order=7", 'order="7"', "word=NaN")
    ]

    assert counts == ["0", "1", "1"]


def test_json_is_one_document_whose_cursor_leads_through_all_pages(app: Celery) -> None:
    for number in range(5):
        app.send_task("t", (number,), task_id=str(number))

    found: list[str] = []
    more: list[str] = []
    for _ in range(3):
        page = json.loads(run(app, "list", "--json", "--limit", "2", *more).stdout)
        found += [task["task_id"] for task in page["tasks"]]
        more = ["--after", page["next"]]

    assert found == ["4", "3", "2", "1", "0"]
    assert page["next"] is None
    assert page["tasks"][0]["args"] == [0]


def test_a_listing_that_goes_on_says_how(app: Celery) -> None:
    for number in range(2):
        app.send_task("t", task_id=str(number))

    result = run(app, "list", "--limit", "1")

    assert len(result.stdout.splitlines()) == 1
    assert result.stderr.startswith("More follow: --after '")


def test_nothing_found_is_no_error_and_names_the_storage(app: Celery) -> None:
    result = run(app, "list", "--state", "FAILURE")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "memory.db" in result.stderr


@pytest.mark.parametrize(
    "command",
    ["list", "list --json", "count", "delete --yes", "resend --yes", "resend --orphans --yes"],
)
def test_a_state_that_nothing_is_in_and_celery_does_not_know_is_wrong_usage(
    app: Celery, command: str
) -> None:
    result = run(app, *command.split(), "--state", "FAILED")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "in the state 'FAILED'" in result.stderr
    assert "FAILURE" in result.stderr


def test_a_state_of_ones_own_is_found(app: Celery) -> None:
    app.fullresult.storage.write([samples.event("a", outcome=samples.outcome("PROGRESS"))])

    assert run(app, "count", "--state", "PROGRESS").stdout == "1\n"


@pytest.mark.parametrize(
    "command", ["list", "count", "show one", "stale", "scheduled", "delete --all"]
)
def test_in_another_directory_no_file_is_made_and_the_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Celery("proj", set_as_current=False)
    app.conf.fullresult_storage = "sqlite:///memory.db"
    FullResult(app)

    result = run(app, *command.split())

    assert result.exit_code == 1
    assert f"there is no file {tmp_path}/memory.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_holds_what_json_cannot(app: Celery) -> None:
    """Dates, NaN, surrogates and deep nesting come out as valid JSON in ASCII."""
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    kwargs = {"when": datetime(2026, 1, 31, tzinfo=timezone.utc), "nan": float("nan"), "deep": deep}
    app.send_task("t", (HOSTILE,), kwargs, task_id="a")

    result = run(app, "show", "a", "--json")

    assert result.stdout.isascii()
    shown = json.loads(result.stdout)
    assert shown["args"] == [HOSTILE]
    assert shown["kwargs"]["nan"] == "nan"
    assert shown["kwargs"]["when"].startswith("2026-01-31T00:00:00")


# --- show


def test_show_tells_everything(app: Celery) -> None:
    app.send_task("shop.charge", (7,), {"card": "x"}, task_id="a", queue="urgent", priority=3)
    _fail(app, "a", ValueError("no\nSUCCESS  forged"))
    app.fullresult.resend("a", task_id="b")

    shown = run(app, "show", "a").stdout

    for part in (
        "shop.charge(7, card='x')",
        "FAILURE  a",
        "published by",
        "attempt 1 ended: FAILURE",
        "  │ ValueError: no\n  │ SUCCESS  forged",
        '{"card": "x"}',
        "urgent",
        "sent again as",
        "argsrepr",
    ):
        assert part in shown


def test_show_says_what_was_not_kept(tmp_path: Path, filesystem_broker: FilesystemBroker) -> None:
    app = Celery("proj", set_as_current=False)
    settings = _settings(tmp_path, filesystem_broker)
    app.conf.update({**settings, "fullresult_max_body": 100, "fullresult_max_text": 100})
    full = FullResult(app)
    app.send_task("t", ("x" * 1000,), task_id="a")

    shown = run(app, "show", "a").stdout

    assert "Not kept" in shown
    assert "fullresult_max_body keeps 100" in shown
    full.close()
    app.close()


def test_an_unknown_id_is_one_sentence(app: Celery) -> None:
    result = run(app, "show", "nobody\x1b[2J")

    assert result.exit_code == 1
    assert "no task 'nobody\\x1b[2J' is recorded" in _one_sentence(result)


# --- Hostile text


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["show", "a"], ["count"]])
def test_nothing_a_task_says_reaches_the_terminal_as_a_command(
    app: Celery, command: list[str]
) -> None:
    """Names, ids, arguments and exceptions with ANSI, C1, bidi and line controls are escaped."""
    name = f"shop.{HOSTILE}"
    app.send_task(name, (HOSTILE,), {HOSTILE: HOSTILE}, task_id="a", shadow=HOSTILE)
    app.send_task(name, task_id=HOSTILE)
    _fail(app, "a", ValueError(HOSTILE))
    _fail(app, HOSTILE, ValueError(HOSTILE))

    result = run(app, *command)

    assert result.exit_code == 0
    allowed = set("\n\t") if command == ["list"] else set("\n")
    assert {c for c in result.output if not c.isprintable()} <= allowed
    if command == ["list"]:
        assert {line.count("\t") for line in result.stdout.splitlines()} == {9}


def test_a_table_is_as_wide_as_its_terminal_whatever_is_in_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("x" * 5000, "日本語" * 100, "a" + "\u0301" * 5000, HOSTILE * 50, "🦀" * 500):
        app.send_task("t", (text,), task_id=f"id{len(text)}")
    monkeypatch.setenv("COLUMNS", "80")

    show_records(app.fullresult.find(), table=True)

    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 6
    assert max(map(width, rows)) <= 80
    assert max(map(len, rows)) < 1000


def test_fields_of_a_pipe_are_bounded(app: Celery) -> None:
    app.send_task("t" * 100_000, ("x" * 100_000,) * 50, task_id="a" * 255)

    found = fields(app.fullresult.find()[0])

    assert max(map(len, found)) <= 1024


def test_safe_text_keeps_what_people_write() -> None:
    assert safe("Grüße, 日本語 🦀 e\u0301") == "Grüße, 日本語 🦀 e\u0301"
    assert safe("a\x1bb\x9bc\u202ed\n") == "a\\x1bb\\x9bc\\u202ed\\n"
    assert one_line(" a\n\tb  c ") == "a b c"
    assert lines("a\r\nb\rc\td") == ["a", "b\\rc       d"]


def test_fit_counts_columns_and_not_characters() -> None:
    assert fit("abc", 3) == "abc"
    assert fit("abcd", 3) == "ab…"
    assert fit("日本語", 5) == "日本…"
    assert width(fit("日本語", 4)) <= 4
    assert len(fit("a" + "\u0301" * 1000, 5)) < 30


# --- resend


def test_resend_by_id_prints_the_new_ids(app: Celery) -> None:
    app.send_task("t", (1,), task_id="a")

    result = run(app, "resend", "a", "--yes")

    assert result.exit_code == 0, result.output
    old, new = result.stdout.strip().split("\t")
    assert old == "a"
    assert app.fullresult.get(new).retry_of == "a"


def test_resend_shows_what_it_will_send_and_asks(app: Celery) -> None:
    app.send_task("shop.charge", (1,), task_id="a")

    refused = run(app, "resend", "a", answer="n\n")
    agreed = run(app, "resend", "a", answer="y\n")

    assert refused.exit_code == 1
    assert "shop.charge(1)" in refused.stderr
    assert "Send 1 task again?" in refused.stderr
    assert agreed.exit_code == 0
    assert app.fullresult.count(retry_of="a") == 1


def test_resend_by_filter_sends_each_match_once_and_the_oldest_first(app: Celery) -> None:
    """Also more than a batch of them, though what is sent matches the filter again."""
    for number in range(120):
        app.send_task("shop.t", (number,), task_id=f"{number:03d}")
    app.send_task("other", task_id="other")

    result = run(app, "resend", "--name", "shop.*", "--since", "2h", "--limit", "110", "--yes")

    assert result.exit_code == 0, result.output
    sent = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert sent == [f"{number:03d}" for number in range(110)]
    assert app.fullresult.count() == 121 + 110


def test_resend_previews_only_the_first_of_many(app: Celery) -> None:
    for number in range(15):
        app.send_task("t", (number,))

    result = run(app, "resend", "--state", "PENDING", answer="n\n")

    assert "About to send again 15 tasks" in result.stderr
    assert "… and 5 more" in result.stderr
    assert app.fullresult.count() == 15


def test_what_cannot_be_sent_again_is_reported_and_the_rest_goes_on(app: Celery) -> None:
    app.send_task("t", (1,), task_id="a")
    _record_without_message(app, "ghost")
    app.send_task("t", (2,), task_id="b")

    result = run(app, "resend", "a", "ghost", "nobody", "b", "--yes")

    assert result.exit_code == 1
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a", "b"]
    assert "no task 'nobody' is recorded" in result.stderr
    assert "ghost" in result.stderr
    assert "Error: sent 2; 2 tasks could not be sent" in result.stderr


def test_resend_gives_up_when_the_broker_does_not_answer(tmp_path: Path) -> None:
    app = Celery("proj", broker="amqp://127.0.0.1:1", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{tmp_path / 'memory.db'}",
        task_publish_retry=False,
        broker_transport_options={"max_retries": 1, "interval_start": 0, "interval_step": 0},
    )
    full = FullResult(app)
    for number in range(5):
        with pytest.raises(Exception, match="refused"):
            app.send_task("t", task_id=str(number))

    result = run(app, "resend", "--name", "t", "--yes")

    assert result.exit_code == 1
    assert result.stderr.count("the broker did not take it") == 3
    assert "the broker does not answer; sent 0, and gave up" in result.stderr
    full.close()
    app.close()


@pytest.mark.parametrize(
    "arguments", [[], ["--yes"], ["--limit", "3"], ["a", "--state", "FAILURE"]]
)
def test_resend_wants_ids_or_filters(app: Celery, arguments: list[str]) -> None:
    result = run(app, "resend", *arguments)

    assert result.exit_code == 2


# --- stale


@pytest.mark.parametrize(
    "age",
    [
        ["--microseconds", "1"],
        ["--seconds", "0"],
        ["--hours", "0", "--minutes", "0"],
        ["--older-than", "0s"],
    ],
)
def test_stale_finds_what_stands_still(app: Celery, age: list[str]) -> None:
    app.send_task("t", task_id="a")
    app.send_task("t", task_id="b")
    _fail(app, "b")
    app.send_task("t", task_id="later", countdown=3600)

    result = run(app, "stale", *age)

    assert result.exit_code == 0
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a"]


def test_nothing_is_stale_within_the_time(app: Celery) -> None:
    app.send_task("t")

    result = run(app, "stale", "--weeks", "1", "--days", "2", "--fail")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "none stood still for 9 d" in result.stderr


def test_stale_can_fail_for_monitoring(app: Celery) -> None:
    app.send_task("t")

    result = run(app, "stale", "--seconds", "0", "--fail")

    assert result.exit_code == 3
    assert "1 task stale" in result.stderr


def test_terminal_states_replace_the_finished_ones(app: Celery) -> None:
    app.send_task("t", task_id="a")
    _fail(app, "a")

    result = run(
        app, "stale", "--seconds", "0", "--terminal-state", "SUCCESS", "--limit", "5", "--json"
    )

    found = json.loads(result.stdout)
    assert [task["task_id"] for task in found["tasks"]] == ["a"]
    assert found["more"] is False


# --- count, delete, setup


def test_count_counts(app: Celery) -> None:
    for _ in range(3):
        app.send_task("t")

    assert run(app, "count").stdout == "3\n"
    assert run(app, "count", "--state", "FAILURE").stdout == "0\n"


def test_delete_shows_how_many_and_asks(app: Celery) -> None:
    for number in range(3):
        app.send_task("t", task_id=str(number))
    app.send_task("other")

    refused = run(app, "delete", "--name", "t", answer="\n")
    limited = run(app, "delete", "--name", "t", "--limit", "1", "--yes")
    agreed = run(app, "delete", "--name", "t", answer="y\n")

    assert refused.exit_code == 1
    assert "Delete 3 records for good?" in refused.stderr
    assert limited.stdout == "Deleted 1 record.\n"
    assert agreed.stdout.endswith("Deleted 2 records.\n")
    assert [record.name for record in app.fullresult.find()] == ["other"]


def test_delete_wants_a_filter_or_all(app: Celery) -> None:
    app.send_task("t")

    refused = run(app, "delete", "--yes")
    everything = run(app, "delete", "--all", "--yes")

    assert refused.exit_code == 2
    assert "--all" in refused.stderr
    assert everything.stdout == "Deleted 1 record.\n"


def test_setup_prints_sql_that_makes_the_schema(app: Celery, tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    (tmp_path / "memory.db").unlink()

    result = run(app, "setup", "--sql")

    assert not (tmp_path / "memory.db").exists()
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.executescript(result.stdout)
    app.conf.fullresult_auto_setup = False
    assert run(app, "count").stdout == "0\n"


def test_setup_creates_the_schema_and_may_be_repeated(app: Celery) -> None:
    first, second = run(app, "setup"), run(app, "setup")

    assert first.exit_code == second.exit_code == 0
    assert "memory.db is ready." in first.stdout


@pytest.mark.parametrize("storage_kind", workers.storages("postgresql"), indirect=True)
def test_the_commands_work_on_every_storage(
    storage_url: str, filesystem_broker: FilesystemBroker
) -> None:
    app = Celery("proj", set_as_current=False)
    app.conf.update({**filesystem_broker.settings, "fullresult_storage": storage_url})
    full = FullResult(app)
    app.send_task("shop.charge", (7,), {"order_id": 7}, task_id="a")
    _fail(app, "a")
    app.send_task("other", task_id="b")

    listed = run(app, "list", "--name", "shop.*", "--kwarg", "order_id=7", "--since", "1h")
    stale = run(app, "stale", "--seconds", "0")
    sent = run(app, "resend", "--state", "FAILURE", "--yes")
    deleted = run(app, "delete", "--until", "now", "--yes")

    assert listed.stdout.split("\t")[0] == "a"
    assert stale.stdout.split("\t")[0] == "b"
    assert sent.exit_code == 0, sent.output
    assert deleted.exit_code == 0, deleted.output
    assert deleted.stdout == "Deleted 3 records.\n"
    full.close()
    app.close()


# --- What goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--since", "yesterdayish"], ["'yesterdayish'", "2h, 90m", "--since"]),
        (["list", "--since", "2026"], ["'2026' is no date"]),
        (["list", "--since", "99999999w"], ["is no date"]),
        (["list", "--until", "2026-13-01"], ["'2026-13-01'"]),
        (["list", "--kwarg", "order"], ["'order' is not key=value"]),
        (["list", "--kwarg", "=7"], ["'=7' is not key=value"]),
        (["list", "--arg-at", "a=7"], ["'a=7' names no place from 0"]),
        (["list", "--arg-at", "1000=7"], ["they are 0 to 999"]),
        (["list", "--after", "nonsense"], ["'nonsense' is no cursor", "--after"]),
        (["list", "--limit", "0"], ["--limit"]),
        (["list", "--limit", "many"], ["many"]),
        (["list", "--state", ""], ["FAILURE"]),
        (["stale", "--older-than", "2"], ["'2' has no unit", "write 2s, 2m, 2h or 2d"]),
        (["stale", "--older-than", " 1.5 "], ["'1.5' has no unit", "1.5h"]),
        (["stale", "--older-than", "soon"], ["not a duration: 'soon'", "90m"]),
        (["stale", "--hours", "-1"], ["-1"]),
        (["stale", "--hours", "nan"], ["nan"]),
        (["stale", "--days", "1e300"], ["no length of time"]),
        (["stale", "--days", "99999999"], ["too long: 99,999,999 days"]),
    ],
    ids=" ".join,
)
def test_a_bad_value_is_named_with_its_remedy(
    app: Celery, arguments: list[str], words: list[str]
) -> None:
    result = run(app, *arguments)

    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory.db", ["fullresult_storage = 'memory.db'", "sqlite:///"]),
        ("mysql://u:secret@h/d", ["'mysql'", "known schemes", "sqlite"]),
        ("sqlite://host/file.db", ["sqlite:///relative.db"]),
        ("sqlite:////no/such/directory/x.db", ["no file /no/such/directory/x.db", "setup"]),
        ("postgresql://u:secret@127.0.0.1:1/d", ["127.0.0.1", "refused"]),
        ("postgresql://no-such-host.invalid/d", ["no-such-host.invalid"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_storage_that_cannot_be_used_is_one_sentence(url: str, words: list[str]) -> None:
    app = Celery("proj", set_as_current=False)
    app.conf.fullresult_storage = url
    FullResult(app)

    result = run(app, "list")

    assert result.exit_code == 1
    sentence = _one_sentence(result)
    assert "secret" not in sentence
    for word in words:
        assert word in sentence


def test_an_app_without_the_two_lines_is_told_them() -> None:
    result = run(Celery("proj", set_as_current=False), "list")

    assert result.exit_code == 1
    assert "Error: " in result.stderr


def test_a_duration_or_a_date_is_a_point_in_time() -> None:
    now = datetime.now(timezone.utc)

    ago = typed_values.when("1h30m")

    assert abs(now - timedelta(minutes=90) - ago) < timedelta(seconds=10)
    assert abs(typed_values.when("1d ago") - typed_values.when("1 d")) < timedelta(seconds=10)
    assert typed_values.when("2026-01-31T14:00Z") == datetime(2026, 1, 31, 14, tzinfo=timezone.utc)
    assert typed_values.when("2026-01-31T14:00+02:00").hour == 12
    assert typed_values.when("2026-01-31") == datetime(2026, 1, 31).astimezone()
    with pytest.raises(click.BadParameter):
        typed_values.when("")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (302, "5 m 02 s"),
        (11_240, "3 h 07 m"),
        (187_200, "2 d 04 h"),
        (None, ""),
    ],
)
def test_spans_are_for_people(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


# --- Through `celery`


def test_through_celery_a_task_is_listed_shown_and_sent_again(app: Celery, proj: Path) -> None:
    app.send_task("shop.charge", (7,), {"card": "x"}, task_id="a")
    _fail(app, "a")

    listed = _celery(proj, "-A", "proj", "fullresult", "list", "--state", "FAILURE", "--json")
    shown = _celery(proj, "-A", "proj", "fullresult", "show", "a")
    sent = _celery(proj, "-A", "proj", "fullresult", "resend", "--state", "FAILURE", "--yes")

    assert [task["task_id"] for task in json.loads(listed.stdout)["tasks"]] == ["a"]
    assert "KeyError" in shown.stdout
    assert sent.returncode == 0, sent.stderr
    assert app.fullresult.get(sent.stdout.split()[1]).kwargs == {"card": "x"}
    assert sent.stderr == ""


def test_the_help_lists_every_command_once_under_a_heading_and_whole() -> None:
    listed = [name for names in fullresult.sections.values() for name in names]
    short = {name: each.get_short_help_str() for name, each in fullresult.commands.items()}

    assert sorted(listed) == sorted(fullresult.commands)
    assert {name: text for name, text in short.items() if not 5 < len(text) <= 45} == {}


def test_through_celery_the_help_lists_every_command_and_examples(proj: Path) -> None:
    result = _celery(proj, "fullresult", "--help")

    for command in ("list", "show", "resend", "stale", "count", "delete", "setup"):
        assert f"\n  {command} " in result.stdout
    assert "\n  celery -A proj fullresult resend --state FAILURE" in result.stdout


def test_through_celery_without_an_app_says_so(tmp_path: Path) -> None:
    result = _celery(tmp_path, "fullresult", "list")

    assert result.returncode == 1
    assert "celery -A proj fullresult" in _one_sentence(result)


def test_through_celery_an_app_without_fullresult_is_told_the_two_lines(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from celery import Celery\napp = Celery('plain')\n")

    result = _celery(tmp_path, "-A", "plain", "fullresult", "list")

    assert result.returncode == 1
    assert "FullResult(app)" in _one_sentence(result)


def test_through_celery_a_missing_driver_names_its_extra(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('No module named psycopg')\n")
    settings = {"fullresult_storage": "postgresql://u:secret@h/d"}
    (tmp_path / "proj.py").write_text(_APP.format(settings=settings))

    result = _celery(
        tmp_path, "-A", "proj", "fullresult", "list", env={"PYTHONPATH": str(tmp_path)}
    )

    assert result.returncode == 1
    sentence = _one_sentence(result)
    assert 'pip install "fullresult[postgresql]"' in sentence
    assert "secret" not in sentence


def test_on_a_terminal_there_is_a_coloured_table_and_without_colour_on_request(
    app: Celery, proj: Path
) -> None:
    app.send_task("shop.charge", (7,), task_id="a")

    coloured = on_a_terminal(proj, "-A", "proj", "fullresult", "list")
    plain = on_a_terminal(proj, "-A", "proj", "--no-color", "fullresult", "list")

    assert "\x1b[34mPENDING" in coloured
    assert "shop.charge(7)" in plain
    assert "\x1b" not in plain
    assert plain.splitlines()[0].startswith("CREATED")


def test_output_that_the_locale_cannot_print_is_escaped(app: Celery, proj: Path) -> None:
    app.send_task("t", ("日本",), task_id="a")

    result = _celery(
        proj, "-A", "proj", "fullresult", "show", "a", env={"PYTHONIOENCODING": "ascii"}
    )

    assert result.returncode == 0, result.stderr
    assert "\\u65e5" in result.stdout


@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False)])
def test_a_terminal_without_colours_gets_none(tmp_path: Path, term: str, coloured: bool) -> None:
    (tmp_path / "proj.py").write_text(
        "from celery import Celery\nfrom fullresult import FullResult\n"
        "app = Celery('proj', broker='memory://')\n"
        f"app.conf.fullresult_storage = 'sqlite:///{tmp_path}/r.db'\n"
        "FullResult(app)\n"
        "@app.task\n"
        "def pay(): ...\n"
        "pay.delay()\n",
        encoding="utf-8",
    )

    shown = on_a_terminal(tmp_path, "-A", "proj", "fullresult", "list", term=term)

    assert "PENDING" in shown
    assert ("\x1b[" in shown) == coloured

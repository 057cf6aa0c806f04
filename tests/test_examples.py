"""The example of an adapter: installed by pip, it passes the suite, and its page is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests.kit import servers, workers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ADAPTER = ROOT / "examples" / "adapter"
PAGE = ROOT / "docs" / "adapters.md"

SLOW, CAMPAIGN = pytest.mark.slow, pytest.mark.campaign

_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OFFLINE = "No matching distribution found for hatchling"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put the adapter, and nothing else."""
    target = tmp_path_factory.mktemp("adapter") / "installed"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    finished = subprocess.run(
        [*pip, "--no-deps", "--target", str(target), str(ADAPTER)],
        capture_output=True,
        text=True,
        check=False,
    )
    if _OFFLINE in finished.stderr and not os.environ.get("CI"):
        pytest.skip("there is no network, which it takes to build a distribution")
    assert finished.returncode == 0, finished.stderr
    return target


def run(installed: Path, directory: Path, *command: str) -> str:
    """What Python prints where the adapter is installed beside fullresult."""
    finished = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env=environment(installed),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-8000:] + finished.stderr
    return finished.stdout


def environment(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}


def quoted(language: str) -> list[str]:
    return [code for kind, code in _CODE.findall(PAGE.read_text("utf-8")) if kind == language]


@pytest.mark.parametrize(
    ("selected", "least"),
    [
        pytest.param("record or page or found or kept", 80, marks=SLOW, id="some"),
        pytest.param("", 290, marks=CAMPAIGN, id="all"),
    ],
)
def test_it_passes_its_tests_and_with_them_the_conformance_suite(
    installed: Path, tmp_path: Path, selected: str, least: int
) -> None:
    printed = run(
        installed,
        tmp_path,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selected),
        *("-c", str(ADAPTER / "pyproject.toml"), str(ADAPTER)),
    )

    passed = re.search(r"(\d+) passed", printed)
    assert passed, printed
    assert int(passed[1]) > least
    reasons = re.findall(r"^SKIPPED .*: (.+)$", printed, re.MULTILINE)
    assert set(reasons) <= {
        "this storage answers no statistics",
        "this storage counts no shapes",
        "this storage does not group failures",
        "this storage finds no members that were not counted",
        "this storage finds whole ids only",
        "this storage has no outbox",
        "this storage keeps no replays",
        "this storage does not keep which queues are paused",
        "this storage does not keep what workers say of themselves",
        "this storage has no begin_write",
        "this storage has no write_and_join",
        "this storage keeps no audit log",
        "this storage makes no statistics",
        "this storage does not say",
        "this storage keeps nothing for a result backend",
        "this storage looks at all records",
        "this storage does not keep which workers are alive",
    }


@pytest.mark.slow
def test_its_url_records_schedules_and_sends_in_real_workers(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, whose children come and go, share one journal with who publishes."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("PYTHONPATH", environment(installed)["PYTHONPATH"])
    url = f"journal:///{tmp_path}/tasks"

    with (
        servers.filesystem_broker() as broker,
        workers.scene(
            broker.url,
            url,
            tmp_path,
            broker_transport_options=broker.transport_options,
            fullresult_schedule_eta=True,
            worker_max_tasks_per_child=2,
        ) as scene,
        scene.worker(concurrency=2),
        scene.worker(concurrency=2),
    ):
        now = [scene.send("add", number, 1) for number in range(12)]
        later = [scene.send("add", number, 1, countdown=0.5) for number in range(12)]
        waiting = scene.send("add", 1, 1, countdown=3600)
        records = [scene.eventually(task_id, workers.is_finished) for task_id in (*now, *later)]

        assert [record.result for record in records] == [*range(1, 13), *range(1, 13)]
        for record in records[12:]:
            assert record.eta is not None
            assert record.date_started is not None
            assert record.date_started >= record.eta - timedelta(milliseconds=1)
        assert [schedule.task_id for schedule in scene.full.scheduled()] == [waiting]
        assert scene.full.cancel(waiting)
        assert "REVOKED" in listed(installed, tmp_path, url)


def listed(installed: Path, directory: Path, url: str) -> str:
    """What the command `list` prints."""
    lines = [
        "from celery import Celery",
        "from fullresult import FullResult",
        "app = Celery('proj', broker='memory://')",
        f"app.conf.fullresult_storage = {url!r}",
        "FullResult(app)",
    ]
    (directory / "proj.py").write_text("\n".join(lines), encoding="utf-8")
    return run(installed, directory, *("-m", "celery", "-A", "proj", "fullresult", "list"))


def test_the_first_example_of_its_page_runs(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(quoted("python")[0], encoding="utf-8")

    printed = run(installed, tmp_path, str(script))

    assert printed == "shop.charge PENDING\n"
    assert (tmp_path / "shop.journal").exists()


def test_the_code_on_its_page_is_its_code() -> None:
    files = [*ADAPTER.rglob("*.py"), ADAPTER / "pyproject.toml"]
    texts = [file.read_text("utf-8") for file in files]

    for code in [*quoted("toml"), *quoted("python")[1:]]:
        indented = textwrap.indent(code, "    ")
        assert any(code in text or indented in text for text in texts), code


def test_the_names_on_its_page_are_there() -> None:
    """And the links to protocols lead to the files that have them."""
    text = PAGE.read_text("utf-8")
    named = set(
        re.findall(r"`(fullresult\.(?:record|storage|config|hookspecs)\.\w+(?:\.\w+)*)", text)
    )

    assert len(named) > 5
    for name in named:
        assert resolve_name(name) is not None
    for protocol, file in re.findall(r"\[`fullresult\.storage\.(\w+)`\]\(\.\./(\S+)\)", text):
        assert f"class {protocol}(" in (ROOT / file).read_text("utf-8")


def test_the_commands_on_its_page_are_those_of_its_readme() -> None:
    readme = (ADAPTER / "README.md").read_text("utf-8")

    for commands in quoted("console"):
        for line in commands.splitlines():
            assert line in readme

"""Celery's own integration tests, with results in Redis and in each of our storages.

    python -m tests.campaigns.celery_suite celery-5.7.0.tar.gz --backends redis,postgresql
    python -m tests.campaigns.celery_suite celery-5.7.0.tar.gz --backends sqlite -- -k test_nested

Celery's tests skip what only Redis can unless the result backend's URL begins with "redis". These
guards are taken out. Broker and tests' notes are in one Valkey in each case. A test that fails is
run once more alone, since one that hangs takes the shared worker with it. What passes with Redis
must pass with ours: if not, the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from celery import Celery

from fullresult import FullResult
from tests.kit import servers

FILES = ("test_canvas.py", "test_tasks.py", "test_group_chains.py")
REDIS, STORAGES = "redis", ("postgresql", "sqlite", "mongodb")
_GUARD = re.compile(
    r"^(?P<indent> *)if not (manager\.)?app\.conf\.result_backend\.startswith\(.redis.\):$",
    re.MULTILINE,
)
_PATIENCE = 100
"""Seconds that one test may take; the slowest that pass take 60."""


def unpack(sdist: Path, directory: Path) -> Path:
    """Celery's `t` folder of *sdist*, in *directory* and without the guards."""
    with tarfile.open(sdist) as archive:
        wanted = [each for each in archive.getmembers() if _is_wanted(each.name)]
        archive.extractall(directory, wanted, filter="data")
    (root,) = directory.glob("celery-*")
    tests = root / "t" / "integration"
    for file in FILES:
        text = (tests / file).read_text(encoding="utf-8")
        text, taken = _GUARD.subn(r"\g<indent>if False:", text)
        say(f"{file}: {taken} guards taken out")
        (tests / file).write_text(text, encoding="utf-8")
    fixtures = (tests / "conftest.py").read_text(encoding="utf-8")
    fixtures = fixtures.replace("timeout(timeout=300)", f"timeout(timeout={_PATIENCE})")
    (tests / "conftest.py").write_text(fixtures, encoding="utf-8")
    return root


def _is_wanted(name: str) -> bool:
    path = name.partition("/")[2]
    return path.startswith("t/") or path in {"pyproject.toml", "setup.cfg"}


@contextmanager
def backend(name: str, directory: Path) -> Iterator[dict[str, str]]:
    """An empty result backend and a broker, as environment variables of Celery's tests."""
    with ExitStack() as stack:
        broker = stack.enter_context(servers.redis())
        if name == REDIS:
            url = f"{broker}/1"
        else:
            storage = stack.enter_context(_storage(name, directory))
            _set_up(storage)
            url = f"fullresult+{storage}"
        where = urlsplit(broker)
        yield {
            "TEST_BROKER": f"{broker}/0",
            "TEST_BACKEND": url,
            "REDIS_HOST": str(where.hostname),
            "REDIS_PORT": str(where.port),
        }


@contextmanager
def _storage(name: str, directory: Path) -> Iterator[str]:
    if name == "sqlite":
        yield f"sqlite:///{directory}/results.db"
    elif name == "postgresql":
        with servers.postgresql() as server:
            yield server
    else:
        with servers.mongodb() as server, servers.mongodb_database(server) as url:
            yield url


def _set_up(storage: str) -> None:
    app = Celery("set up", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = storage
    full = FullResult(app)
    full.setup()
    full.close()
    app.close()


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


class Report:
    """The outcome of each test, by its id."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def read(self, file: Path) -> None:
        for case in ET.parse(file).iter("testcase"):
            self.outcomes[_id(case)] = _outcome(case)

    def of(self, outcome: str) -> list[str]:
        return [name for name, found in self.outcomes.items() if found == outcome]


def _id(case: ET.Element) -> str:
    *_, file, cls = f"{case.get('classname')}".rsplit(".", 2)
    return f"t/integration/{file}.py::{cls}::{case.get('name')}"


def _outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case}
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if tag in kinds:
            return outcome
    return "passed"


def run(root: Path, name: str, options: Sequence[str], work: Path, logs: Path) -> Report:
    """The outcomes of Celery's tests with the backend *name*."""
    report = Report()
    files = [f"t/integration/{file}" for file in FILES]
    _run_once(root, name, [*files, *options], work, logs / f"{name}.log", report)
    for test in report.of("failed"):
        say(f"{name}: alone: {test}")
        _run_once(root, name, [test], work, logs / f"{name}-alone.log", report)
    return report


def _run_once(
    root: Path, name: str, tests: Sequence[str], work: Path, log: Path, report: Report
) -> None:
    directory = work / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    found = directory / "junit.xml"
    command = [
        *(sys.executable, "-m", "pytest", "-p", "celery.contrib.pytest", "-q", "-rfE"),
        *("-p", "no:cacheprovider", "-p", "no:rerunfailures", "-p", "no:cov", "-p", "no:xdist"),
        *("--timeout", str(_PATIENCE), "-W", "ignore", f"--junit-xml={found}"),
        *("-o", "junit_family=xunit1", *tests),
    ]
    with backend(name, directory) as settings, log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, **settings, "PYTHONPATH": str(root)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait()
        finally:
            # Children of a pool that hangs outlive it.
            _kill_group(process.pid)
    if found.exists():
        report.read(found)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> int:
    options = _options()
    logs = options.logs.resolve()
    logs.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Report] = {}
    with TemporaryDirectory() as work:
        root = unpack(options.sdist, Path(work))
        for name in options.backends:
            reports[name] = run(root, name, options.pytest, Path(work), logs)
            _show(name, reports[name])
    return _compare(reports)


def _show(name: str, report: Report) -> None:
    counts = ", ".join(f"{len(report.of(each))} {each}" for each in ("passed", "failed", "skipped"))
    say(f"{name}: {counts}")
    for test in report.of("failed"):
        say(f"  {test}")


def _compare(reports: dict[str, Report]) -> int:
    """0 if each test that passes with Redis passes with ours; without Redis, if none fails."""
    fails_there = set(reports[REDIS].of("failed")) if REDIS in reports else set()
    missing = {
        name: sorted(set(report.of("failed")) - fails_there)
        for name, report in reports.items()
        if name != REDIS
    }
    for name, tests in missing.items():
        if tests and REDIS in reports:
            say(f"{name} fails where Redis passes:", *(f"  {test}" for test in tests))
    ran = all(report.of("passed") for report in reports.values())
    return 0 if ran and not any(missing.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sdist", type=Path, help="Celery's, as `pip download` fetches it")
    parser.add_argument("--backends", type=_names, default=[REDIS, *STORAGES])
    parser.add_argument("--logs", type=Path, default=Path("celery-suite-logs"))
    parser.epilog = "What follows -- is for pytest."
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.pytest = words[end + 1 :]
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())

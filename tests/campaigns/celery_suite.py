"""Celery's own integration tests, with results in Redis and in each of our storages.

    python -m tests.campaigns.celery_suite celery-5.7.0.tar.gz --backends redis,postgresql
    python -m tests.campaigns.celery_suite celery-5.7.0.tar.gz --backends sqlite -- -k test_nested

Celery's tests skip what only Redis can unless the result backend's URL begins with "redis", or it
is one of Celery's for keys and values. These guards are taken out. A test that waits for the first
of 42 errbacks, and for the others no moment longer, waits for each. Broker and tests' notes are in
one Valkey in each case. A test that fails is run once more alone, since one that hangs takes the
shared worker with it. What passes with Redis must pass with ours: if not, the exit code is 1.
Without `redis` among the backends, what fails with ours is run with Redis at last, and then once
more with ours: on a machine that has other work, some of these tests fail with any backend.
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
from concurrent.futures import ThreadPoolExecutor
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
LOOK_INSIDE_REDIS = {
    f"t/integration/{test}": re.compile(where, re.MULTILINE)
    for test, where in (
        (
            "test_canvas.py::test_chord::test_chord_on_error",
            r"object has no attribute 'get_key_for_group'",
        ),
        (
            "test_tasks.py::test_task_redis_result_backend::test_asyncresult_forget_cancels_subscription",
            r"^> .*get_active_redis_channels\(\)",
        ),
        (
            "test_tasks.py::test_task_redis_result_backend::test_asyncresult_get_cancels_subscription",
            r"^> .*get_active_redis_channels\(\)",
        ),
    )
}
"""Tests that ask Redis for its own keys and channels, and where: nothing else can pass them there.

That they come so far is demanded of ours as well.
"""
INSIDE = "inside Redis"
"""Their outcome."""
SAMPLE = (
    "test_nested_group_chain",
    "test_nested_chord_group_chain_group_tail",
    "test_reapplying_frozen_chord_dispatches_body_again",
    "test_add_to_chord",
    "test_add_chord_to_chord",
    "test_chord_on_error",
    "(test_generator and test_chord)",
    "test_error_propagates_to_chord_from_group",
    "errback_called_by_chord_from",
    "test_nested_chord_header_link_error",
    "test_upgraded_chord_link_error",
    "test_chord_error_propagation_with_different_body_types",
    "test_flag_allow_error_cb_on_chord_header_on_upgraded_chord",
)
"""Of each way in which a result backend can be incomplete, for `pytest -k`."""
_GUARD = re.compile(
    r"^(?P<indent> *)if not ("
    r"(manager\.)?app\.conf\.result_backend\.startswith\((.redis.|\('redis', 'rpc'\))\)"
    r"|isinstance\(manager\.app\.backend, BaseKeyValueStoreBackend\)"
    r"):$",
    re.MULTILINE,
)
_IN_A_HURRY = "timeout=TIMEOUT if i == 0 else 0,"
"""With Redis, too, such a test fails where the machine has other work."""
_TOLD = 40
"""Lines of the log of each test that failed."""
_PATIENCE = 100
"""Seconds that one test may take; the slowest that pass take 60."""


def unpack(sdist: Path, directory: Path) -> Path:
    """Celery's `t` folder of *sdist*, in *directory*, without the guards, and in no hurry."""
    with tarfile.open(sdist) as archive:
        wanted = [each for each in archive.getmembers() if _is_wanted(each.name)]
        archive.extractall(directory, wanted, filter="data")
    (root,) = directory.glob("celery-*")
    tests = root / "t" / "integration"
    for file in _files(root):
        text, taken = _GUARD.subn(r"\g<indent>if False:", file.read_text(encoding="utf-8"))
        say(f"{file.name}: {taken} guards taken out")
        text = text.replace(_IN_A_HURRY, "timeout=TIMEOUT,")
        file.write_text(text, encoding="utf-8")
    for file in (tests / "conftest.py", *_files(root)):
        text = file.read_text(encoding="utf-8")
        text = text.replace("timeout(timeout=300)", f"timeout(timeout={_PATIENCE})")
        file.write_text(text, encoding="utf-8")
    return root


def _files(root: Path) -> list[Path]:
    """Those that this version of Celery has."""
    files = (root / "t" / "integration" / name for name in FILES)
    return [file for file in files if file.exists()]


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
            self.outcomes[_id(case)] = INSIDE if _is_inside_redis(case) else _outcome(case)

    def of(self, outcome: str) -> list[str]:
        return [name for name, found in self.outcomes.items() if found == outcome]


def _id(case: ET.Element) -> str:
    *_, file, cls = f"{case.get('classname')}".rsplit(".", 2)
    return f"t/integration/{file}.py::{cls}::{case.get('name')}"


def _outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case if not _is_unexpected_pass(child)}
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if tag in kinds:
            return outcome
    return "passed"


def _is_inside_redis(case: ET.Element) -> bool:
    """True for what failed where only Redis can pass."""
    where = LOOK_INSIDE_REDIS.get(_id(case))
    said = "".join(f"{child.text}" for child in case if child.tag == "failure")
    return where is not None and where.search(said) is not None


def _is_unexpected_pass(child: ET.Element) -> bool:
    """True for what is marked as failing with Redis, and does not fail."""
    return child.tag == "failure" and "[XPASS(strict)]" in f"{child.get('message')}{child.text}"


def run(root: Path, name: str, options: argparse.Namespace, work: Path) -> Report:
    """The outcomes of Celery's tests with the backend *name*."""
    number, parts = options.part
    tests = _collected(root, options.pytest, work)[number - 1 :: parts]
    shares = [tests[number :: options.processes] for number in range(options.processes)]
    report = _side_by_side(root, name, [*filter(None, shares)], options, work)
    report.outcomes |= alone(root, name, report.of("failed"), options, work).outcomes
    return report


def alone(
    root: Path, name: str, tests: list[str], options: argparse.Namespace, work: Path
) -> Report:
    """The outcomes of *tests* with the backend *name*, each with a worker of its own."""
    for test in tests:
        say(f"{name}: alone: {test}")
    return _side_by_side(root, f"{name}-alone", [[test] for test in tests], options, work)


def _side_by_side(
    root: Path, what: str, shares: list[list[str]], options: argparse.Namespace, work: Path
) -> Report:
    """The outcomes of each of *shares*, each with a backend and a broker of its own."""
    name = what.partition("-")[0]
    report = Report()
    with ThreadPoolExecutor(options.processes) as threads:
        done = [
            threads.submit(_run, root, name, share, work / f"{what}-{number}", options.logs)
            for number, share in enumerate(shares)
        ]
        for each in done:
            report.outcomes |= each.result().outcomes
    return report


def _collected(root: Path, options: Sequence[str], work: Path) -> list[str]:
    """The ids of the tests that pytest's *options* select. Exits if a file cannot be read."""
    files = [str(file.relative_to(root)) for file in _files(root)]
    result = subprocess.run(
        [*_pytest(), "--collect-only", *files, *options],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        say(*result.stdout.splitlines()[-_TOLD:], result.stderr)
        sys.exit("Celery's tests are not collected: see above")
    work.mkdir(exist_ok=True)
    return [line for line in result.stdout.splitlines() if "::" in line and line.startswith("t/")]


def _pytest() -> list[str]:
    plugins = (
        "celery.contrib.pytest",
        "no:cacheprovider",
        "no:rerunfailures",
        "no:cov",
        "no:xdist",
    )
    words = [word for plugin in plugins for word in ("-p", plugin)]
    return [sys.executable, "-m", "pytest", "-q", *words]


def _run(root: Path, name: str, tests: Sequence[str], directory: Path, logs: Path) -> Report:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    found = directory / "junit.xml"
    command = [
        *(*_pytest(), "-rfE", "--timeout", str(_PATIENCE), "-W", "ignore"),
        *(f"--junit-xml={found}", "-o", "junit_family=xunit1", *tests),
    ]
    log = logs / f"{directory.name}.log"
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
    report = Report()
    if found.exists():
        report.read(found)
    return report


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> int:
    options = _options()
    options.logs = options.logs.resolve()
    options.logs.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Report] = {}
    with TemporaryDirectory() as work:
        root = unpack(options.sdist, Path(work))
        for name in options.backends:
            reports[name] = run(root, name, options, Path(work))
            _show(name, reports[name])
        if REDIS not in reports:
            reports = {REDIS: _control(root, reports, options, Path(work)), **reports}
    result = _compare(reports)
    if result:
        _show_logs(options.logs)
    return result


def _control(
    root: Path, reports: dict[str, Report], options: argparse.Namespace, work: Path
) -> Report:
    """The outcomes with Redis of what failed with ours; what passes is run once more with ours."""
    failed = sorted({test for report in reports.values() for test in report.of("failed")})
    control = alone(root, REDIS, failed, options, work)
    if failed:
        _show(REDIS, control)
    for name, report in reports.items():
        wrong = [test for test in report.of("failed") if test in control.of("passed")]
        report.outcomes |= alone(root, name, wrong, options, work).outcomes
    return control


def _show(name: str, report: Report) -> None:
    outcomes = ("passed", "failed", "skipped", INSIDE)
    say(f"{name}: " + ", ".join(f"{len(report.of(each))} {each}" for each in outcomes))
    for test in report.of("failed"):
        say(f"  {test}")


def _show_logs(logs: Path) -> None:
    for log in sorted(logs.glob("*-alone-*.log")):
        lines = log.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
        say(f"--- {log.name}", *lines[-_TOLD:])


def _compare(reports: dict[str, Report]) -> int:
    """0 if each test that passes with Redis passes with ours."""
    good = True
    for name in reports.keys() - {REDIS}:
        wrong = [t for t in reports[name].of("failed") if t in reports[REDIS].of("passed")]
        if wrong:
            say(f"{name} fails where Redis passes:", *(f"  {test}" for test in wrong))
        good = good and bool(reports[name].of("passed")) and not wrong
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sdist", type=Path, help="Celery's, as `pip download` fetches it")
    parser.add_argument("--backends", type=_names, default=[REDIS, *STORAGES])
    parser.add_argument("--logs", type=Path, default=Path("celery-suite-logs"))
    parser.add_argument("--processes", type=int, default=2, help="how many run side by side")
    parser.add_argument(
        "--part", type=_part, default=(1, 1), metavar="N/PARTS", help="2/5 is the second fifth"
    )
    parser.add_argument("--sample", action="store_true", help="only what CI runs")
    parser.epilog = "What follows -- is for pytest."
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.pytest = words[end + 1 :]
    if options.sample:
        options.pytest += ["-k", " or ".join(SAMPLE)]
    return options


def _part(text: str) -> tuple[int, int]:
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part like 2/5")
    return int(number), int(parts)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())

"""`docs/deployment.md`: its units, files and manifests are read, and their commands are run."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from fullresult.config.passwords import hash_password

PAGE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
UNITS = {name: text for name, text in FILES.items() if name.endswith(".service")}
MANIFESTS = ("setup.yaml", "pages.yaml", "sweep.yaml")


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(text)
    return parser


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILES["compose.yaml"])["services"]
    return found


def manifests() -> list[dict[str, Any]]:
    return [each for name in MANIFESTS for each in yaml.safe_load_all(FILES[name])]


def containers() -> list[dict[str, Any]]:
    specs = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] != "Service"]
    return [container for spec in specs for container in spec["containers"]]


def commands() -> dict[str, list[str]]:
    """Each command of the page by where it stands, without the `celery` that runs it."""
    found = {name: shlex.split(unit(text)["Service"]["ExecStart"]) for name, text in UNITS.items()}
    found |= {name: each["command"] for name, each in services().items() if "command" in each}
    found |= {f"kubernetes {each['name']}": each["command"] for each in containers()}
    assert all(Path(command[0]).name == "celery" for command in found.values())
    return {name: command[1:] for name, command in found.items()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the page's app is, with a user for its pages."""
    (tmp_path / "proj.py").write_text(FILES["proj.py"], encoding="utf-8")
    (tmp_path / "web-users").write_text(f"ada operator {hash_password('correct horse', n=16)}\n")
    return tmp_path


@contextmanager
def started(place: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", *arguments],
        cwd=place,
        env={
            **os.environ,
            "CELERY_BROKER_URL": "memory://",
            "FULLRESULT_STORAGE": f"sqlite:///{place / 'records.db'}",
            "FULLRESULT_WEB_SECRET": "x" * 43,
            "XDG_STATE_HOME": str(place / "state"),
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def finished(place: Path, *arguments: str) -> str:
    with started(place, *arguments) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def test_the_page_has_all_that_is_named() -> None:
    assert len(UNITS) == 2
    assert {"proj.py", "Dockerfile", "compose.yaml", *MANIFESTS, *UNITS} == FILES.keys()
    assert len(commands()) == 2 + 4 + 3


@pytest.mark.parametrize("name", sorted(UNITS))
def test_a_unit_is_complete(name: str) -> None:
    parsed = unit(UNITS[name])

    assert parsed.sections() == ["Unit", "Service", "Install"]
    service = parsed["Service"]
    assert service["Restart"] == "always"
    # The one place that the hardened service may write to is that of the spool.
    assert service["Environment"] == f"XDG_STATE_HOME=/var/lib/{service['StateDirectory']}"
    assert parsed["Install"]["WantedBy"] == "multi-user.target"


def test_what_the_files_refer_to_is_there() -> None:
    compose = yaml.safe_load(FILES["compose.yaml"])
    named = {
        volume.split(":")[0] for each in services().values() for volume in each.get("volumes", [])
    }
    assert named == compose["volumes"].keys()
    after = {name for each in services().values() for name in each.get("depends_on", {})}
    assert after <= services().keys()
    assert set(services()["pages"]["secrets"]) <= compose["secrets"].keys()

    for each in manifests():
        if each["kind"] == "Deployment":
            template = each["spec"]["template"]
            assert each["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
            volumes = {volume["name"] for volume in template["spec"]["volumes"]}
            (container,) = template["spec"]["containers"]
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    (pages,) = (each for each in containers() if each["name"] == "pages")
    port = pages["command"][pages["command"].index("--port") + 1]
    assert pages["ports"] == [{"name": "http", "containerPort": int(port)}]


@pytest.mark.parametrize(
    "arguments", {" ".join(each): each for each in commands().values()}.values(), ids=" ".join
)
def test_each_command_is_one(place: Path, arguments: list[str]) -> None:
    """With `--help` at its end: an option that is not known is an error all the same."""
    users = [str(place / "web-users") if word.endswith("web-users") else word for word in arguments]

    assert "Usage:" in finished(place, *users, "--help")


def test_the_tables_are_made_and_the_sweeper_and_the_pages_run(place: Path) -> None:
    known = commands()

    assert "is ready" in finished(place, *known["kubernetes setup"])

    with started(place, *known["kubernetes sweep"]) as sweep:
        assert sweep.stdout
        assert "Sweeping" in sweep.stdout.readline()
        sweep.send_signal(signal.SIGTERM)
        assert sweep.wait(60) == 0

    pages = ["0" if word == "8766" else word for word in known["kubernetes pages"]]
    pages = [str(place / "web-users") if word.endswith("web-users") else word for word in pages]
    with started(place, *pages) as web:
        assert web.stdout
        link = re.search(r"http://0\.0\.0\.0:(\d+)/", web.stdout.readline())
        assert link
        with urllib.request.urlopen(f"http://127.0.0.1:{link[1]}/healthz", timeout=20) as answer:
            assert answer.status == 200
        web.terminate()
        assert web.wait(30) in (0, -signal.SIGTERM)

"""The import directions of the design, read from the source."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DRIVERS = {"psycopg", "pymongo", "sqlite3"}
CORE = sorted((ROOT / "fullresult").rglob("*.py"))
PACKAGES = ("fullresult_storage_sql", "fullresult_storage_mongo")
ADAPTERS = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Every module that *file* imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def packages(file: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(file)}


@pytest.mark.parametrize("file", CORE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_core_imports_no_adapter_and_no_driver(file: Path) -> None:
    assert not packages(file) & {*DRIVERS, *PACKAGES}


@pytest.mark.parametrize("file", ADAPTERS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_an_adapter_imports_of_celery_only_its_configuration_error(file: Path) -> None:
    celery = {module for module in imports(file) if module.startswith(("celery", "kombu"))}

    assert celery <= {"celery.exceptions", "celery.exceptions.ImproperlyConfigured"}


@pytest.mark.parametrize("file", ADAPTERS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_an_adapter_imports_no_other(file: Path) -> None:
    others = {*PACKAGES} - {file.relative_to(ROOT).parts[0]}

    assert not packages(file) & others


def test_only_the_extension_opens_a_storage() -> None:
    """Beside it, `setup --sql` prints a schema, and the suite opens what it tests."""
    core = [file for file in CORE if not {"cli", "testing"} & set(file.parts)]

    openers = {file.name for file in core if "fullresult.plugins" in imports(file)}

    assert openers == {"fullresult.py", "shared.py"}  # which may have a storage of its own


def test_the_values_know_neither_signals_nor_storages() -> None:
    for name in ("task.py", "merging.py", "executions.py"):
        mine = {
            m for m in imports(ROOT / "fullresult" / "record" / name) if m.startswith("fullresult")
        }
        homes = {module.split(".")[1] for module in mine if "." in module}

        assert homes <= {"record"}, name


def test_no_two_scenarios_have_a_task_of_the_same_name() -> None:
    """Which test files share a process is xdist's to choose, and its apps have all tasks."""
    modules = [
        f"tests.apps.{file.stem}" for file in (ROOT / "tests" / "apps").glob("scenario_*app.py")
    ]

    assert len(modules) > 5
    for module in modules:
        import_module(module)  # `tests.apps.scenario_app.task` refuses a name that is taken

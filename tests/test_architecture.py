"""The design's walls, read from the source: layers, circles, faces, drivers."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.kit.imports import (
    Module,
    circles_of,
    graph_of,
    imported_names,
    is_docstring_alone,
    private_imports,
    read_package,
    states_of,
)
from tests.kit.layers import (
    calls_of_storage,
    climbs,
    foreign_imports,
    foreign_to_adapters,
    room_of,
)

ROOT = Path(__file__).parent.parent
DRIVERS = {"psycopg", "pymongo", "sqlite3"}
READ_OTHERS_TABLES = {"fullresult.importers.databases", "fullresult.importers.celery_mongodb"}
ADAPTERS = ("fullresult_storage_sql", "fullresult_storage_mongo")
EXAMPLE = "fullresult_storage_journal"
PACKAGES = {
    "fullresult": read_package(ROOT, "fullresult"),
    **{adapter: read_package(ROOT, adapter) for adapter in ADAPTERS},
    EXAMPLE: read_package(ROOT / "examples" / "adapter", EXAMPLE),
}
CORE = PACKAGES["fullresult"]
OF_ADAPTERS = [module for name in (*ADAPTERS, EXAMPLE) for module in PACKAGES[name]]

ROOMS_WITH_A_FACE = {"record", "storage", "config", "extension", "web", "django", "testing"}
LOOSE_MODULES = {"__init__", "__main__", "hookspecs", "plugins"}


def packages(module: Module) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(module)}


def test_imports_run_down_the_layers() -> None:
    assert not climbs(CORE)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_in_a_circle(package: str) -> None:
    assert not circles_of(graph_of(PACKAGES[package]))


def test_questions_cannot_reach_the_broker() -> None:
    assert not foreign_imports(CORE)


def test_doors_leave_the_storage_to_the_use_cases() -> None:
    assert not calls_of_storage(CORE)


def test_no_module_takes_a_private_name_from_another() -> None:
    found = {
        f"{module.name} -> {name}"
        for modules in PACKAGES.values()
        for module in modules
        for package in PACKAGES
        for name in private_imports(module, package)
    }

    assert not found


def test_an_adapter_imports_of_the_core_only_what_its_rooms_hand_on() -> None:
    assert not foreign_to_adapters(OF_ADAPTERS)


@pytest.mark.parametrize("module", OF_ADAPTERS, ids=lambda module: module.name)
def test_an_adapter_imports_of_celery_only_its_configuration_error(module: Module) -> None:
    celery = {name for name in imported_names(module) if name.startswith(("celery", "kombu"))}

    assert celery <= {"celery.exceptions.ImproperlyConfigured"}


@pytest.mark.parametrize("module", OF_ADAPTERS, ids=lambda module: module.name)
def test_an_adapter_imports_no_other(module: Module) -> None:
    others = {*ADAPTERS, EXAMPLE} - {module.name.partition(".")[0]}

    assert not packages(module) & others


@pytest.mark.parametrize("module", CORE, ids=lambda module: module.name)
def test_core_imports_no_adapter_and_no_driver(module: Module) -> None:
    """Other programs' tables are not a storage's, so what reads them names their drivers."""
    drivers = set() if module.name in READ_OTHERS_TABLES else DRIVERS

    assert not packages(module) & {*drivers, *ADAPTERS}


def test_only_the_extension_opens_a_storage() -> None:
    """Beside it, `setup --sql` prints a schema, and the suite opens what it tests."""
    others = [module for module in CORE if room_of(module.name) not in {"cli", "testing"}]

    openers = {
        module.name
        for module in others
        if any(f"{name}.".startswith("fullresult.plugins.") for name in imported_names(module))
    }

    assert openers == {
        "fullresult.extension.parts",
        "fullresult.results.shared",  # A result backend may have a storage of its own.
    }


def test_there_are_at_most_fifteen_rooms_and_two_loose_modules() -> None:
    home = ROOT / "fullresult"
    rooms = {path.parent.name for path in home.glob("*/__init__.py")}

    assert len(rooms) <= 15
    assert {path.stem for path in home.glob("*.py")} == LOOSE_MODULES


def test_only_some_rooms_hand_names_on() -> None:
    homes = {path.parent for path in (ROOT / "fullresult").rglob("*/__init__.py")}
    faces = {".".join(home.relative_to(ROOT).parts) for home in homes} - {"fullresult"}
    found = {m.name for m in CORE if m.name in faces and not is_docstring_alone(m)}

    assert found == {f"fullresult.{room}" for room in ROOMS_WITH_A_FACE}


@pytest.mark.parametrize("name", [".ci/run", "noxfile.py", "pyproject.toml"])
def test_the_chores_name_only_tests_that_exist(name: str) -> None:
    """Or a run would leave out, or no longer leave out, something without a word."""
    named = re.findall(r"tests/[\w/.*]+", (ROOT / name).read_text(encoding="utf-8"))

    assert named
    assert not [path for path in named if not list(ROOT.glob(path.removesuffix("/**")))]


def test_only_three_modules_keep_state() -> None:
    """Each says there why Celery leaves no other way."""
    found = {
        f"{module.name}.{name}"
        for modules in PACKAGES.values()
        for module in modules
        for name in states_of(module)
    }

    assert found == {
        "fullresult.django.staying._seen",
        "fullresult.recording.this_worker._workers",
        "fullresult.results.shared._shared",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_a_long_file_says_why_it_is_long(package: str) -> None:
    """Beyond 400 lines there are two nouns in it, or a reason, which its docstring begins."""
    long = [module for module in PACKAGES[package] if len(module.source.splitlines()) > 400]

    assert not [module.name for module in long if "Long because " not in module.source[:1000]]


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "examples"])
def test_a_long_file_beside_the_packages_says_so_too(folder: str) -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in (ROOT / folder).rglob("*.py")}
    long = {file: text for file, text in texts.items() if len(text.splitlines()) > 400}

    assert not [file for file, text in long.items() if "Long because " not in text[:2000]]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "fullresult_storage_sql").glob("*.sql")), ids=lambda f: f.name
)
def test_a_long_file_of_statements_says_why_it_is_long(file: Path) -> None:
    text = file.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 400 or "Long because " in text[:1000]


def test_no_two_scenarios_have_a_task_of_the_same_name() -> None:
    """Which test files share a process is xdist's to choose, and its apps have all tasks."""
    modules = [
        f"tests.apps.{file.stem}" for file in (ROOT / "tests" / "apps").glob("scenario_*app.py")
    ]

    assert len(modules) > 5
    for module in modules:
        import_module(module)  # `tests.apps.scenario_app.task` refuses a name that is taken

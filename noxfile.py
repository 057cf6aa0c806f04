"""The project's chores: `nox` checks everything, `nox -s tests` runs the tests, `nox -l` lists."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
OLDEST_CELERY, NEWEST_CELERY = "5.4", "5.7"
OLDEST_KOMBU = "5.3.4"  # Celery 5.4.0's.
TEST_TOOLS = {"pytest", "hypothesis"}
# With real servers and two cores, one test of thousands now and then waits in vain. It is run once
# more, and the summary lists both runs: a test that needs the second is a fault to be mended.
ONCE_MORE = ("--reruns=1", "--reruns-delay=2", "-raR")
PACKAGES = ["fullresult", "fullresult_storage_sql", "fullresult_storage_mongo"]
PROJECT = nox.project.load_toml("pyproject.toml")

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_venv = "yes"
# Not uv where there happens to be one: it does not read pip's configuration.
nox.options.default_venv_backend = "virtualenv"
# A missing interpreter is skipped, and is an error where CI is set: nox's own default.


@nox.session
def demo(session: nox.Session) -> None:
    """Watch a real worker being remembered; on a terminal, to the end in the pages."""
    session.install("-e", ".[web]")
    session.run("python", "-m", "fullresult", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests with this Python and the newest Celery, and report the coverage."""
    _install_for_tests(session, NEWEST_CELERY)
    # Of a few tests a coverage says nothing.
    named = any(Path(word.partition("::")[0]).exists() for word in session.posargs)
    coverage = () if named else ("--cov", "--cov-report=term", "--durations=25")
    # Tests mostly wait. A file's tests stay together, as some share a worker, in conftest's order.
    side_by_side = ("--numprocesses=4", "--dist=loadfile", "--no-loadscope-reorder")
    session.run(
        *("python", "-m", "pytest", *side_by_side),
        *coverage,
        *ONCE_MORE,
        "--maxfail=20",  # What a test waits for in vain, the others may wait for as well.
        *session.posargs,
    )


@nox.session(python=PYTHONS)
@nox.parametrize("celery", [OLDEST_CELERY, NEWEST_CELERY])
def matrix(session: nox.Session, celery: str) -> None:
    """Run all tests with every supported Python, the oldest and the newest Celery."""
    _install_for_tests(session, celery)
    session.run("python", "-m", "pytest", *ONCE_MORE, *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run what depends on other packages with the lowest version of each that is allowed."""
    session.install("-e", ".[all]", *_groups("tests"), *_lowest())
    rooms = ("tests/storage", "tests/scenarios", "tests/results")
    session.run("python", "-m", "pytest", *(session.posargs or rooms))


@nox.session
def campaigns(session: nox.Session) -> None:
    """Run the long campaigns: more examples, more races, for minutes to hours."""
    _install_for_tests(session, NEWEST_CELERY)
    nothing_collected = 5
    session.run(
        *("python", "-m", "pytest", "-m", "campaign", "--timeout=0", *session.posargs),
        success_codes=[0, nothing_collected],
    )


@nox.session
@nox.parametrize("celery", [OLDEST_CELERY, NEWEST_CELERY])
def celery_suite(session: nox.Session, celery: str) -> None:
    """Run Celery's own integration tests: what passes with Redis must pass with each storage."""
    _install_for_tests(session, celery)
    session.install("pydantic>=2", "pytest-subtests>=0.13")
    place = Path(session.create_tmp()).resolve() / "sdist"
    shutil.rmtree(place, ignore_errors=True)
    wanted = ("--no-deps", "--no-binary", "celery", "--dest", str(place), f"celery=={celery}.*")
    session.run("python", "-m", "pip", "download", "--quiet", *wanted)
    (sdist,) = place.glob("celery-*.tar.gz")
    session.run(
        *("python", "-m", "tests.campaigns.celery_suite", str(sdist)),
        *("--logs", str(place.parent / "logs"), *session.posargs),
    )


@nox.session(python="3.12")
@nox.parametrize("django", ["4.2", "5.2", "6.0"])
def django(session: nox.Session, django: str) -> None:
    """Run the example project's tests with each supported Django, on PostgreSQL and SQLite."""
    _install_for_tests(session, NEWEST_CELERY)
    session.install(f"django=={django}.*")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/django"]))


@nox.session(python=["3.12", "3.13"])
def recycling(session: nox.Session) -> None:
    """Run thousands of tasks, each in a child of its own, beside the sweeper's thread."""
    _install_for_tests(session, NEWEST_CELERY)
    session.run(
        *("python", "-m", "pytest", "-m", "campaign", "--timeout=0"),
        *("tests/scheduling/test_recycling.py", *session.posargs),
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and the style."""
    session.install(*_groups("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install("-e", ".[all]", *_groups("tests", "typing"))
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, strictly, and check its links."""
    session.install(*_groups("docs"))
    target = Path(*session.posargs or (session.create_tmp(), "site")).resolve()
    session.run("python", "docs/site/build.py", str(target))
    session.run("python", "docs/site/links.py", str(target))
    session.log(f"To read and search it: python -m http.server --directory {target}")


@nox.session
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities in all that an installation with every extra brings."""
    session.install(*_groups("audit"))
    home = Path(session.create_tmp()).resolve() / "installed"
    shutil.rmtree(home, ignore_errors=True)
    # Apart from pip-audit's own dependencies, which nobody gets from us.
    session.run("python", "-m", "venv", "--without-pip", str(home))
    pip = ("python", "-m", "pip", "--python", str(home))
    session.run(*pip, "install", "--quiet", ".[all]")
    frozen = session.run(*pip, "freeze", "--exclude", "fullresult", silent=True)
    assert isinstance(frozen, str)
    wanted = home.with_suffix(".txt")
    wanted.write_text(frozen, encoding="utf-8")
    # Strict: what PyPI does not know was not looked at.
    session.run(
        *("pip-audit", "--strict", "--disable-pip", "--no-deps", "--desc", "on"),
        *("--requirement", str(wanted), *session.posargs),
    )


@nox.session
def build(session: nox.Session) -> None:
    """Build the distribution, look inside, and import it from a clean environment."""
    session.install(*_groups("build"))
    target = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(target, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(target), silent=True)
    session.run("twine", "check", "--strict", *map(str, target.iterdir()))
    (wheel,) = target.glob("*.whl")
    (sdist,) = target.glob("*.tar.gz")
    _check_wheel(session, wheel)
    _check_sdist(session, sdist)
    _import_alone(session, wheel)


def _groups(*names: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PROJECT, *names)


def _install_for_tests(session: nox.Session, celery: str) -> None:
    session.install("-e", ".[all]", *_groups("tests"), f"celery=={celery}.*")


def _lowest() -> list[str]:
    """Each requirement of the project and its extras, and kombu, at its lowest version."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(each for extra in extras for each in extra)]
    found = {}
    for requirement in wanted:
        if not requirement.startswith("fullresult["):
            name, _, bounds = requirement.partition(">=")
            found[name], _, _ = bounds.partition(",<")
    lowest = {name: version for name, version in found.items() if name not in TEST_TOOLS}
    return [f"{name}=={version}" for name, version in {**lowest, "kombu": OLDEST_KOMBU}.items()]


def _sources() -> set[str]:
    files = (file for package in PACKAGES for file in Path(package).rglob("*"))
    return {file.as_posix() for file in files if file.is_file() and file.suffix != ".pyc"}


def _check_wheel(session: nox.Session, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    if wrong := packed ^ _sources():
        session.error(f"The wheel and the packages differ in {sorted(wrong)}.")


def _check_sdist(session: nox.Session, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*_sources(), "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "noxfile.py"}
    if missing := wanted - packed:
        session.error(f"The sdist lacks {sorted(missing)}.")


def _import_alone(session: nox.Session, wheel: Path) -> None:
    """Without any extra, and away from the sources."""
    home = Path(session.create_tmp()).resolve() / "alone"
    shutil.rmtree(home, ignore_errors=True)
    session.run("python", "-m", "venv", str(home))
    python = str(home / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", str(wheel), external=True)
    with session.chdir(home):
        session.run(python, "-c", f"import {', '.join(PACKAGES)}", external=True)
        session.run(python, "-m", "pip", "check", external=True)
        session.run(python, "-m", "celery", "fullresult", "--help", silent=True, external=True)

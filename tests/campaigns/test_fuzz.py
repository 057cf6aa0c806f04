"""What reads bytes that others wrote stands any of them; what it once could not stand is here."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from click.testing import CliRunner

from fullresult.cli.group import fullresult as commands
from fullresult.config import Settings
from fullresult.plugins import open_storage
from tests.campaigns import fuzz
from tests.campaigns.fuzz import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE = 150
"""Inputs for each target in a normal run."""
NAMES = (
    *("capture", "redact", "schedule", "send", "spool", "store", "url", "config", "filters"),
    *("match", "search", "web", "passwords"),
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    pytest.importorskip("starlette")
    with ExitStack() as stack:
        yield fuzz.targets(tmp_path_factory.mktemp("fuzz"), stack)


def test_every_target_is_tried(targets: dict[str, Target]) -> None:
    assert tuple(targets) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_target_stands_what_it_was_made_for(targets: dict[str, Target], name: str) -> None:
    """Else its mutations would show little."""
    for seed in targets[name].seeds:
        assert fuzz.tried(targets[name], seed) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_target_stands_a_sample_of_mutations(targets: dict[str, Target], name: str) -> None:
    chosen = {name: targets[name]}

    found = list(fuzz.fuzz(chosen, random.Random(name), goes_on=lambda number: number < SAMPLE))

    assert [(find.data, find.problem) for find in found] == []


@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_a_target_stands_many_mutations(targets: dict[str, Target], name: str) -> None:
    seed = random.randrange(2**32)
    print(f"python -m tests.campaigns.fuzz --target {name} --seed {seed}")  # noqa: T201
    chosen = {name: targets[name]}

    found = list(fuzz.fuzz(chosen, random.Random(seed), goes_on=lambda number: number < 20_000))

    assert [(find.data, find.problem) for find in found] == []


# --- What was found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        # Dots without a colon took the search box a time that doubled with each of them.
        ("search", b"kwargs" + b"." * 60 + b"s"),
        # A message whose third part is no object could be recorded, and not be shown.
        ("capture", b'{"task": "t", "id": "one"}\0\0[[], {}, "links"]'),
        ("capture", b'{"task": "t", "id": "one"}\0\0[[], {}, [1]]'),
        ("capture", b'{"task": "t", "id": "one", "stamps": 7}\0\0[[], {}, {}]'),
        # Arguments that no record can have were a traceback on the command line.
        ("filters", b'list\0--kwarg\0card={"a": \xff\xfe'),
        ("filters", b"list\0--arg\0\xff"),
        ("filters", b"list\0--kwarg\0\xff=1"),
        # What was to be declared had no name, and the sweeper of a task with a new id no answer.
        ("schedule", fuzz._schedule_seeds()[0].replace(b'"name": "celery", "exch', b'"exch')),
    ],
)
def test_what_a_target_once_could_not_stand_it_stands(
    targets: dict[str, Target], name: str, data: bytes
) -> None:
    assert fuzz.tried(targets[name], data) is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cr3t@[::1/d",
        "mongodb://u:s3cr3t@h]/d",
        "sqlite://[/file.db",
        "postgresql://u:s3cr3t\N{FULLWIDTH COLON}x@h/d",
    ],
)
def test_a_url_that_python_cannot_read_is_an_error_in_the_configuration(url: str) -> None:
    """Python's own message shows the password."""
    app = Celery(set_as_current=False)
    app.conf.fullresult_storage = url

    with pytest.raises(ImproperlyConfigured, match="fullresult_storage") as raised:
        open_storage(Settings.of(app))

    assert "s3cr3t" not in str(raised.value)


def test_an_argument_that_no_record_can_have_is_wrong_usage(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fuzz.targets(tmp_path, stack)

        result = CliRunner().invoke(commands, ["list", "--kwarg", "card=\udcff"])

    assert result.exit_code == 2
    assert "lone surrogate" in result.stderr

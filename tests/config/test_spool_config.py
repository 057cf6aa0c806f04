"""The keys of the spool, right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config import DEFAULT_SPOOL, Settings


def settings(**given: Any) -> Settings:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(given)
    return Settings.of(app)


def test_without_a_word_there_is_a_spool_and_events_are_written_directly() -> None:
    known = settings()

    assert (known.write_mode, known.spool_directory, known.spool_size) == (
        "direct",
        DEFAULT_SPOOL,
        2**28,
    )


def test_none_is_no_spool() -> None:
    assert settings(fullresult_spool_directory=None).spool_directory is None


def test_djangos_none_is_no_spool() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.config_from_object({"CELERY_FULLRESULT_SPOOL_DIRECTORY": None}, namespace="CELERY")

    assert Settings.of(app).spool_directory is None


@pytest.mark.parametrize("place", ["/var/spool/shop", "~/spool", Path("/var/spool/shop")])
def test_a_path_is_where_it_is(place: str | Path) -> None:
    assert settings(fullresult_spool_directory=place).spool_directory == str(place)


@pytest.mark.parametrize("place", ["spool", "", 7, True])
def test_what_is_no_absolute_path_is_an_error(place: object) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"fullresult_spool_directory = .*an absolute path"
    ):
        settings(fullresult_spool_directory=place)


def test_nothing_can_be_spooled_without_a_spool() -> None:
    with pytest.raises(
        ImproperlyConfigured, match='"direct" where fullresult_spool_directory is None'
    ):
        settings(fullresult_spool_directory=None, fullresult_write_mode="spooled")


@pytest.mark.parametrize("write", ["behind", True, ""])
def test_events_are_written_directly_or_spooled(write: object) -> None:
    with pytest.raises(ImproperlyConfigured, match='"direct" or "spooled"'):
        settings(fullresult_write_mode=write)


@pytest.mark.parametrize("size", [0, -1, "1 GB", True])
def test_its_size_is_a_number_of_bytes(size: object) -> None:
    with pytest.raises(ImproperlyConfigured, match="fullresult_spool_size"):
        settings(fullresult_spool_size=size)

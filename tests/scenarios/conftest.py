"""The worker that most scenarios share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import workers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=workers.storages("sqlite", "postgresql"))
def running_on(request: pytest.FixtureRequest) -> str:
    """The kind of storage of `running`."""
    return str(request.param)


@pytest.fixture(scope="module")
def running(running_on: str, request: pytest.FixtureRequest) -> Iterator[workers.Scene]:
    """A worker with one process."""
    with workers.running(running_on, request) as scene:
        yield scene

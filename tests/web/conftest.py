"""The shop and its pages, for tests that say nothing else about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import browsing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

    from tests.kit.browsing import Browser


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        yield app


@pytest.fixture
def browser(app: Celery) -> Browser:
    """Somebody who has logged in."""
    return browsing.entered(app)

"""Fixtures: the example project on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import servers
from tests.kit.django_site import Site, dropped_afterwards

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The project with its tables, shared by a module's tests."""
    home = tmp_path_factory.mktemp("site")
    if request.param == "sqlite":
        yield _migrated(Site(f"sqlite://{home / 'shop.db'}", home / "broker"))
        return
    server = request.getfixturevalue("postgresql_server")
    with servers.postgresql_database(server) as url, dropped_afterwards(url):
        yield _migrated(Site(url, home / "broker"))


def _migrated(site: Site) -> Site:
    site.manage("migrate", "-v0")
    return site

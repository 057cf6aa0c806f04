"""PostgreSQL keeps the contract of a storage."""

from __future__ import annotations

import pytest

from fullresult.testing import StorageSuite
from tests import servers


class TestPostgreSQL(StorageSuite):
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url

    @pytest.fixture
    def unreachable_url(self) -> str:
        return f"postgresql://postgres@{servers.HOST}:{servers.free_port()}/postgres"

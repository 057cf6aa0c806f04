"""Staging and production on one broker and one storage: neither sends the other's tasks."""

from __future__ import annotations

from typing import Any

from fullresult.scheduling.batch import Swept
from tests.kit import servers
from tests.kit.scheduling import app_on, overdue, received, sweep


def test_key_prefixes_tell_brokers_of_one_database_apart(redis_url: str, storage_url: str) -> None:
    staging, production = (
        {"broker_url": redis_url, "broker_transport_options": {"global_keyprefix": prefix}}
        for prefix in ("staging-", "production-")
    )

    only_its_own_sends(staging, production, storage_url)


def test_virtual_hosts_that_the_url_does_not_name_tell_brokers_apart(
    redis_server: str, storage_url: str
) -> None:
    with servers.redis_database(redis_server) as one, servers.redis_database(redis_server) as two:
        host = one.rpartition("/")[0]
        staging, production = (
            {"broker_url": host, "broker_vhost": url.rpartition("/")[2]} for url in (one, two)
        )

        only_its_own_sends(staging, production, storage_url)


def only_its_own_sends(
    staging: dict[str, Any], production: dict[str, Any], storage_url: str
) -> None:
    with app_on(staging, storage_url) as here, app_on(production, storage_url) as there:
        overdue(here, "of staging")

        assert sweep(there.fullresult) == Swept()
        assert received(there) == []
        assert sweep(here.fullresult) == Swept(1, 1)
        assert received(here) == ["of staging"]

"""Each example of `docs/outbox.md` that has a connection, word for word."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from tests.kit import workers
from tests.kit.outbox import ORDERS, file_of, shop, stored

PAGE = (Path(__file__).parents[2] / "docs" / "outbox.md").read_text(encoding="utf-8")
STORAGES = {
    "psycopg": "postgresql",
    "psycopg, asynchronous": "postgresql",
    "psycopg2": "postgresql",
    "asyncpg": "postgresql",
    "SQLAlchemy, connections": "postgresql",
    "SQLAlchemy, sessions": "postgresql",
    "SQLAlchemy, asynchronous": "postgresql",
    "sqlite3": "sqlite",
    "PyMongo": "mongodb",
    "PyMongo, asynchronous": "mongodb",
}
DRIVERS = {
    "SQLAlchemy, connections": "postgresql+psycopg2",
    "SQLAlchemy, sessions": "postgresql+psycopg",
    "SQLAlchemy, asynchronous": "postgresql+asyncpg",
}


def examples() -> dict[str, str]:
    """The examples by the headings that they stand under."""
    connections = PAGE.partition("\n## Connections\n")[2].partition("\n## ")[0]
    sections = re.split(r"^### ", connections, flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        heading, _, text = section.partition("\n")
        (code, *_) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found[heading] = code
    del found["Django"]  # settings, which are tried in tests/django
    del found["Others"]  # a plugin, which has a test of its own
    return found


def charge(order: int) -> int:
    return order


@pytest.mark.parametrize("heading", examples())
def test_an_example_puts_a_task_into_the_outbox(
    heading: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    storage = STORAGES[heading]
    with workers.storage(storage, request, tmp_path) as url, shop(url) as full:
        make_orders(storage, url)
        given: dict[str, Any] = {
            "full": full,
            "charge": full.app.task(name="shop.charge")(charge),
            "DATABASE": file_of(url) if storage == "sqlite" else database(heading, url),
        }

        exec(examples()[heading], given)
        if "async def place" in examples()[heading]:
            asyncio.run(given["place"](7))
        if "engine" in given:  # a program has one as long as it runs
            given["engine"].dispose()
        if "connection" in given:
            given["connection"].close()

        (task_id,) = stored(full)
        record = full.get(task_id)
    assert record is not None
    assert (record.name, record.args, record.state) == ("shop.charge", [7], "SCHEDULED")


def database(heading: str, url: str) -> str:
    return url.replace("postgresql", DRIVERS.get(heading, "postgresql"), 1)


def test_the_plugin_of_the_page_knows_its_connections(postgresql_url: str) -> None:
    (code,) = re.findall(r"### Others\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    given: dict[str, Any] = {}
    exec(code, given)
    with (
        shop(postgresql_url, plugins=[given["Unwraps"]()]) as full,
        psycopg.connect(postgresql_url) as connection,
    ):
        with full.outbox(given["Wrapped"](connection)) as box:
            full.app.send_task("shop.charge", [7])
        connection.commit()

        assert stored(full) == box.ids


def make_orders(storage: str, url: str) -> None:
    if storage == "postgresql":
        with psycopg.connect(url) as connection:
            connection.execute(ORDERS)
    elif storage == "mongodb":
        with MongoClient[dict[str, Any]](url) as client:
            client.drop_database("shop")
    elif storage == "sqlite":
        with closing(sqlite3.connect(file_of(url))) as file:
            file.execute(ORDERS)

"""Each example of `docs/outbox.md` that has a connection, word for word."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.kit import workers
from tests.kit.outbox import ORDERS, file_of, shop, stored

PAGE = (Path(__file__).parents[2] / "docs" / "outbox.md").read_text(encoding="utf-8")
STORAGES = {
    "psycopg": "postgresql",
    "psycopg, asynchronous": "postgresql",
    "sqlite3": "sqlite",
    "PyMongo": "mongodb",
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
            "DATABASE": file_of(url) if storage == "sqlite" else url,
        }

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a page closes no connection
            exec(examples()[heading], given)
            if "async def place" in examples()[heading]:
                asyncio.run(given["place"](7))

        (task_id,) = stored(full)
        record = full.get(task_id)
    assert record is not None
    assert (record.name, record.args, record.state) == ("shop.charge", [7], "SCHEDULED")


def make_orders(storage: str, url: str) -> None:
    if storage == "postgresql":
        with psycopg.connect(url) as connection:
            connection.execute(ORDERS)
    elif storage == "sqlite":
        with closing(sqlite3.connect(file_of(url))) as file:
            file.execute(ORDERS)

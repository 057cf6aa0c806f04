"""A publisher that is killed before its commit has published nothing; after it, everything."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from pymongo import MongoClient

from fullresult import FullResult
from tests.kit import outbox, outbox_async, workers
from tests.kit.outbox import publish, shop, stored

MOMENTS = ("before", "after")


def processes() -> multiprocessing.context.ForkServerContext:
    """Children without this process's threads and connections."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def place(kind: str, url: str, moment: str) -> None:
    with (
        shop(url, set_up=False, fullresult_auto_setup=False) as full,
        outbox.KINDS[kind][1](url) as caller,
    ):
        caller.begin()
        caller.insert(MOMENTS.index(moment))
        with full.outbox(caller.connection):
            publish(full, task_id=moment)
            if moment == "before":
                die()
        caller.commit()
        die()


def place_later(kind: str, url: str, moment: str) -> None:
    with shop(url, set_up=False, fullresult_auto_setup=False) as full:
        asyncio.run(_place_later(full, kind, url, moment))


async def _place_later(full: FullResult, kind: str, url: str, moment: str) -> None:
    async with outbox_async.KINDS_WITH_PYMONGO[kind][1](url) as caller:
        await caller.begin()
        # MongoDB keeps what the one before left open, and would refuse the same order now.
        await caller.execute(f"INSERT INTO orders VALUES ({MOMENTS.index(moment)})")
        async with full.outbox(caller.connection) as box:
            publish(full, task_id=moment)
            await box.flush()
            if moment == "before":
                die()
        await caller.end("COMMIT")
        die()


@pytest.mark.parametrize("kind", outbox.KINDS)
def test_a_killed_publisher(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    check(place, kind, outbox.KINDS[kind][0], request, tmp_path)


@pytest.mark.parametrize("kind", outbox_async.KINDS_WITH_PYMONGO)
def test_a_killed_asynchronous_publisher(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    storage = outbox_async.KINDS_WITH_PYMONGO[kind][0]
    check(place_later, kind, storage, request, tmp_path)


def check(
    target: object, kind: str, storage: str, request: pytest.FixtureRequest, directory: Path
) -> None:
    with workers.storage(storage, request, directory) as url, shop(url) as full:
        left = {}
        for moment in MOMENTS:
            arguments = (kind, url, moment)
            process = processes().Process(target=target, args=arguments)  # type: ignore[arg-type]
            process.start()
            process.join(workers.PATIENCE)
            assert process.exitcode == -signal.SIGKILL, moment
            left[moment] = stored(full), full.get(moment) is not None
        if storage == "mongodb":  # or the server keeps the transaction for a minute
            with MongoClient[dict[str, object]](url) as client:
                client.admin.command("killAllSessions", [])

    assert left == {"before": ([], False), "after": (["after"], True)}

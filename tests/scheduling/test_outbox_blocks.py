"""The blocks of an outbox: which one is around, whatever threads and contexts do."""

from __future__ import annotations

import contextvars
import gc
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fullresult import FullResult, plugins
from fullresult.scheduling.outbox_box import Block
from tests.kit.outbox import publish, shop, stored


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"{tmp_path}/shop.db"


@pytest.fixture
def full(file: str) -> Iterator[FullResult]:
    with shop(f"sqlite:///{file}") as full:
        yield full


def test_a_thread_that_asks_first_at_the_same_time_closes_no_block(
    full: FullResult, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two requests do, the first ones of a new process: both ask for the app's outboxes."""
    asked, opened = threading.Event(), threading.Event()
    ask = plugins.outbox_writer

    def slow(known: list[object]) -> Callable[[object], object | None]:
        if threading.current_thread() is other:
            asked.set()
            opened.wait(10)
        return ask(known)

    monkeypatch.setattr(plugins, "outbox_writer", slow)
    other = threading.Thread(target=full.direct)
    other.start()
    assert asked.wait(10)
    with closing(sqlite3.connect(file)) as connection, connection, full.outbox(connection) as box:
        opened.set()
        other.join()
        publish(full)

    assert stored(full) == box.ids != []


def test_blocks_that_begin_in_the_contexts_of_others_are_not_kept(
    full: FullResult, file: str
) -> None:
    """As a timer does that is set again inside its block, for ever."""
    with closing(sqlite3.connect(file)) as connection:
        context, ended = contextvars.copy_context(), []
        for _ in range(5):
            context, box = context.run(_inherited, full, connection)
            ended.append(weakref.ref(box))
            del box
        gc.collect()

        assert context.run(Block.around, full.app) is None
        assert [each() is None for each in ended] == [True] * 4 + [False]


def _inherited(
    full: FullResult, connection: sqlite3.Connection
) -> tuple[contextvars.Context, Block]:
    with full.outbox(connection) as box:
        return contextvars.copy_context(), box

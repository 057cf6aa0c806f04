"""How long a full store takes to answer, by which index, and what the indexes cost a write."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo
from celery import Celery

from benchmarks import backlog, writing
from benchmarks.documents import fill_mongodb
from benchmarks.filling import fill_postgresql, fill_sqlite
from benchmarks.questions import INDEXED_KWARGS, Question, questions
from fullresult import FullResult
from fullresult_storage_mongo import queries as mongo_queries
from fullresult_storage_mongo.storage import MongoStorage
from fullresult_storage_sql import queries
from fullresult_storage_sql.storage import SqlStorage
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.filling import Filled
    from fullresult.storage import Storage

_KINDS = ("postgresql", "sqlite", "mongodb")
_WRITE_ROWS = 50_000
"""What the stores already hold whose writes are timed."""
_FRESH = 100_000
"""Written, at most, before the kwargs are asked for once more."""
_SHARE = 0.2
"""What the indexes may add to a direct write."""
_SECONDARY = {
    "postgresql": "SELECT indexname FROM pg_indexes WHERE tablename = 'fullresult_task' "
    "AND indexname NOT LIKE '%_pkey'",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
}


_SOURCES = ("inputStage", "innerStage", "outerStage", "queryPlan", "thenStage", "elseStage")


@dataclass(frozen=True)
class Answer:
    """How many records, and the milliseconds they took: the median, the least and the greatest."""

    records: int
    middle: float
    least: float
    most: float


def main() -> int:
    """Measure and print; 1 if a promise is broken, unless none is judged."""
    options = _options()
    figures: dict[str, Any] = {}
    with ExitStack() as running:
        for kind in options.storage:
            figures[kind] = _measure(kind, options, running)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if options.unjudged or all(found["kept"] for found in figures.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="records (%(default)s)")
    parser.add_argument(
        "--backlog", type=int, default=1_000_000, help="tasks that wait besides (%(default)s)"
    )
    parser.add_argument("--runs", type=int, default=9, help="of each question (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="of writes (%(default)s)")
    parser.add_argument(
        "--storage",
        type=_kinds,
        default=[*_KINDS],
        help=f"some of {', '.join(_KINDS)}, separated by commas; without, all",
    )
    parser.add_argument("--explain", action="store_true", help="print every plan, not only three")
    parser.add_argument(
        "--unjudged",
        action="store_true",
        help="end with 0 although a promise is broken: few rows or rounds tell nothing of them",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    if unknown := set(kinds) - set(_KINDS):
        raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(_KINDS)}")
    return kinds


def _measure(kind: str, options: argparse.Namespace, running: ExitStack) -> dict[str, Any]:
    store = running.enter_context(_stores(kind))
    _progress(f"{kind}: filling {options.rows:,} records ...")
    url = running.enter_context(store())
    start = time.perf_counter()
    filled = _fill(kind, url, options.rows, INDEXED_KWARGS)
    _progress(f" {time.perf_counter() - start:.0f} s\n")
    answers = ask(
        kind, _storage(url, INDEXED_KWARGS), filled, options.runs, explain=options.explain
    )
    if options.backlog:
        _progress(f"{kind}: adding {options.backlog:,} tasks that wait ...\n")
        storage = _storage(url, INDEXED_KWARGS)
        backlog.fill(storage, options.backlog)
        asked = [*backlog.questions(filled)]
        answers += [(question, _answer(storage, question, options.runs)) for question in asked]
    print(f"\n{kind}, {options.rows:,} records\n{_report(kind, answers)}")
    costs = _costs(kind, store, options.rounds, running)
    cheap = costs["direct"].added < _SHARE
    print(f"direct write: {costs['direct']}; promised under {_SHARE:.0%}: {_kept(cheap)}")
    print(f"batched write: {costs['batched']}")
    kept = all(_verdict(kind, question, answer) != "BROKEN" for question, answer in answers)
    return {
        "rows": options.rows,
        "backlog": options.backlog,
        "kept": kept and cheap,
        "answers": {
            question.name: {**vars(answer), "promised": question.bound(kind)}
            for question, answer in answers
        },
        "writes": {name: vars(cost) for name, cost in costs.items()},
    }


@contextmanager
def _stores(kind: str) -> Iterator[Any]:
    """Lends the URLs of empty stores."""
    with ExitStack() as running:
        if kind == "postgresql":
            server = running.enter_context(servers.postgresql(durable=True))
            yield lambda: servers.postgresql_database(server)
        elif kind == "mongodb":
            server = running.enter_context(servers.mongodb())
            yield lambda: servers.mongodb_database(server)
        else:
            yield _file


@contextmanager
def _file() -> Iterator[str]:
    with TemporaryDirectory() as directory:
        yield f"sqlite:///{Path(directory, 'store.sqlite')}"


def _storage(url: str, keys: Sequence[str] = ()) -> Storage:
    app = Celery()
    app.conf.update(
        fullresult_storage=url, fullresult_storage_timeout=600, fullresult_index_kwargs=list(keys)
    )
    return FullResult(app).storage


def _fill(kind: str, url: str, rows: int, keys: Sequence[str]) -> Filled:
    storage = _storage(url, keys)
    storage.setup()
    storage.close()
    if kind == "postgresql":
        return fill_postgresql(url, rows)
    if kind == "mongodb":
        return fill_mongodb(url, rows)
    return fill_sqlite(Path(url.removeprefix("sqlite:///")), rows)


def ask(
    kind: str, storage: Storage, filled: Filled, runs: int, *, explain: bool
) -> list[tuple[Question, Answer]]:
    """Ask everything, and some of it again after many writes. Prints the plans to be shown."""
    asked = questions(filled, storage)
    answers = [(question, _answer(storage, question, runs)) for question in asked]
    for question in asked:
        if explain or question.shown:
            print(f"\n{kind}, {question.name}\n{_plan(kind, storage, question)}")
    fresh = min(filled.rows // 10, _FRESH)
    _progress(f"{kind}: writing {fresh:,} more ...\n")
    life = writing.batched_life(storage)
    for _ in range(fresh // writing.BATCH):
        next(life)
    for question in asked:
        if question.name in ("kwargs, one record", "kwargs, no record"):
            again = Question(
                f"{question.name}, {fresh:,} writes later", question.query, question.promised
            )
            answers.append((again, _answer(storage, again, runs)))
    return answers


def _answer(storage: Storage, question: Question, runs: int) -> Answer:
    records, taken = 0, []
    for _ in range(runs + 1):
        start = time.perf_counter()
        records = question.ask(storage)
        taken.append((time.perf_counter() - start) * 1000)
        if taken[-1] > 2000 and len(taken) > 1:
            break
    warm = taken[1:]  # The first comes from the disk.
    return Answer(records, median(warm), min(warm), max(warm))


def _plan(kind: str, storage: Storage, question: Question) -> str:
    if isinstance(storage, MongoStorage):
        return _plan_of_mongodb(storage, question)
    assert isinstance(storage, SqlStorage)
    database = storage._database  # noqa: SLF001
    statement = "count" if question.counts else "select"
    make = queries.count if question.counts else queries.select
    sql, values = make(database, question.query)
    if kind == "postgresql":
        explain = "EXPLAIN (ANALYZE, BUFFERS)"
        lines = database.ask(f"{explain} {database.sql[statement]}{sql}", values)
        return "\n".join(line[0][:160] for line in lines)
    lines = database.ask(f"EXPLAIN QUERY PLAN {database.sql[statement]}{sql}", values)
    return "\n".join(str(line[3]) for line in lines)


def _plan_of_mongodb(storage: MongoStorage, question: Question) -> str:
    query = question.query
    asked: dict[str, Any] = {}
    if not question.counts:
        asked = {"sort": dict(mongo_queries.order(query)), "limit": query.limit or 0}

    def explain(handle: Any) -> dict[str, Any]:
        where = mongo_queries.page(handle, query, mongo_queries.names(handle, query))
        command = {"find": handle.tasks.name, "filter": where, **asked}
        database = handle.tasks.database
        return dict(database.command("explain", command, verbosity="executionStats"))

    found = storage._database.read(explain)  # noqa: SLF001
    stats = found["executionStats"]
    counted = (
        f"{stats['nReturned']} returned, {stats['totalKeysExamined']} keys and "
        f"{stats['totalDocsExamined']} documents examined, {stats['executionTimeMillis']} ms"
    )
    return "\n".join([counted, *_stages(stats["executionStages"])])


def _stages(stage: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """One line for each step of a plan, its sources indented below it."""
    index = f" {stage['indexName']} {_bounds(stage)}" if "indexName" in stage else ""
    yield f"{'  ' * depth}{stage['stage']}{index}"[:160]
    sources = stage.get("inputStages") or [stage[key] for key in _SOURCES if key in stage]
    for source in sources:
        yield from _stages(source, depth + 1)


def _bounds(stage: dict[str, Any]) -> str:
    return ", ".join(f"{field} {' '.join(found)}" for field, found in stage["indexBounds"].items())


def _costs(kind: str, store: Any, rounds: int, running: ExitStack) -> dict[str, writing.Cost]:
    _progress(f"{kind}: timing writes with and without the indexes ...\n")
    pair = []
    for indexed in (False, True):
        url = running.enter_context(store())
        _fill(kind, url, _WRITE_ROWS, INDEXED_KWARGS[:1])
        if not indexed:
            _drop_indexes(kind, url)
        pair.append(_storage(url))
    return {
        "direct": writing.direct(*pair, rounds=rounds, tasks=200),
        "batched": writing.batched(*pair, rounds=rounds, tasks=1000),
    }


def _drop_indexes(kind: str, url: str) -> None:
    if kind == "mongodb":
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            client.get_default_database()["fullresult_task"].drop_indexes()
        return
    connection: Any
    if kind == "postgresql":
        connection = psycopg.connect(url, autocommit=True)
    else:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    with closing(connection):
        for (name,) in connection.execute(_SECONDARY[kind]).fetchall():
            connection.execute(f'DROP INDEX "{name}"')


def _report(kind: str, answers: Sequence[tuple[Question, Answer]]) -> str:
    lines: list[tuple[str, ...]] = [("", "records", "ms", "least", "most", "promised", "")]
    for question, answer in answers:
        bound = question.bound(kind)
        times = [f"{value:.2f}" for value in (answer.middle, answer.least, answer.most)]
        promised = "" if bound is None else f"{bound:g}"
        verdict = _verdict(kind, question, answer)
        lines.append((question.name, str(answer.records), *times, promised, verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(_cell, line, widths)).rstrip() for line in lines)


def _cell(text: str, width: int) -> str:
    return text.rjust(width) if text[:1].isdigit() else text.ljust(width)


def _verdict(kind: str, question: Question, answer: Answer) -> str:
    bound = question.bound(kind)
    if bound is None:
        return ""
    return _kept(answer.middle <= bound)


def _kept(promise: bool) -> str:
    return "kept" if promise else "BROKEN"


def _progress(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

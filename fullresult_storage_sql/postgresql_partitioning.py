"""Makes partitioned tables of those that are there, beside their writers."""

from __future__ import annotations

import time

from psycopg import errors, sql

from fullresult_storage_sql.postgresql_partitions import TABLES
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

_LOCK_MILLISECONDS = 1000
"""For which writers may have to wait, each time that a lock is tried."""
_PAUSE = 1.0
_KEYS = {"fullresult_task": "task_id", "fullresult_execution": "task_id, stamp"}


def partition(server: Server) -> None:
    """Partition the tables that are not. What is in them stays in place, as one partition.

    Takes as long as an index on ids and a look at every row: meanwhile all goes on. Only then,
    and as soon as nobody has it locked, each table changes its name. Raises `StorageError`.
    """
    server.run(lambda session: _partition_all(server, session))


def _partition_all(server: Server, session: Session) -> None:
    for table in TABLES:
        if _is_partitioned(session, table):
            continue
        # Tried, not waited for: an index that is built beside writers waits for all who wait.
        while not session.execute(SQL["begin_to_partition"]).fetchall()[0][0]:
            time.sleep(_PAUSE)
        try:
            if not _is_partitioned(session, table):
                _partition(server, session, table)
        finally:
            session.execute(SQL["end_to_partition"])


def _partition(server: Server, session: Session, table: str) -> None:
    with server.unlimited(session):
        _patiently(session, SQL["add_expires_on"].format(table=table))
        _build_key(session, table)
        session.execute(SQL["validate_unmoved"].format(table=table).encode())
    while not _swap(server, session, table):
        time.sleep(_PAUSE)


def _build_key(session: Session, table: str) -> None:
    name = f"{table}_unmoved_pkey"
    state = session.execute(SQL["state_of_index"], [name]).fetchall()
    if state and state[0][0] == "unfinished":
        session.execute(f"DROP INDEX CONCURRENTLY {name}".encode())
    key = f"{_KEYS[table]}, expires_on"
    create = f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} ({key})"
    session.execute(create.encode())


def _patiently(session: Session, statement: str) -> None:
    """Run *statement* at a moment at which nobody has the table locked for long."""
    while True:
        try:
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}".encode())
                session.execute(statement.encode())
        except errors.LockNotAvailable:
            time.sleep(_PAUSE)
        else:
            return


def _swap(server: Server, session: Session, table: str) -> bool:
    """Put a partitioned table in place of *table*, which becomes its partition."""
    try:
        with session.transaction(), server.waiting(session, None):
            session.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}".encode())
            session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            _swap_locked(session, table)
    except errors.LockNotAvailable:
        return False
    return True


def _swap_locked(session: Session, table: str) -> None:
    if _is_partitioned(session, table):
        return
    indexes = session.execute(SQL["indexes_to_partition"], [table]).fetchall()
    triggers = session.execute(SQL["triggers_to_partition"], [table]).fetchall()
    schema = session.execute(SQL["home"]).fetchall()[0][0]
    for trigger, _ in triggers:
        session.execute(
            sql.SQL("DROP TRIGGER {} ON {}").format(*map(sql.Identifier, (trigger, table)))
        )
    names = {"schema": schema, "table": table, "key": f"{_KEYS[table]}, expires_on"}
    session.execute(SQL["rename_unmoved"].format(**names).encode())
    for index, definition in indexes:
        unmoved = index.replace(table, f"{table}_unmoved", 1)
        if unmoved == index:
            unmoved = f"{index}_unmoved"
        session.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(*map(sql.Identifier, (index, unmoved)))
        )
        session.execute(definition.encode())
    session.execute(SQL["attach_unmoved"].format(**names).encode())
    for _, definition in triggers:
        session.execute(definition.encode())
    for (grant,) in session.execute(
        SQL["grants_to_partition"], [table, f"{table}_unmoved"]
    ).fetchall():
        session.execute(grant.encode())


def _is_partitioned(session: Session, table: str) -> bool:
    found = session.execute(SQL["kind_of_table"], [table]).fetchall()
    return bool(found) and found[0][0] == "p"

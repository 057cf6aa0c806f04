"""The grants of the documentation are enough for what they are for, and for nothing else."""

from __future__ import annotations

import logging
import os
import re
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pymongo
import pytest
from kombu.exceptions import OperationalError
from psycopg import sql

from fullresult import FullResult
from fullresult.storage import StorageError
from tests.kit import permissions, servers
from tests.kit.permissions import JOBS, Job

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")
GRANT = re.compile(r"GRANT (?P<rights>[A-Z, ]+) ON\s+(?P<tables>[a-z_, \n]+) TO proj;")

Right = tuple[str, str]
"""What may be done, and to which table."""


def can(url: str, job: Job) -> bool:
    """Whether a user can do *job*."""
    with permissions.user(url) as full:
        try:
            job(full)
        except (StorageError, OperationalError, AssertionError):
            return False
        return True


def grants(role: str) -> set[Right]:
    """What the page grants to a role."""
    found = re.search(rf"^### {role}\n.*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found, role
    return {
        (right.strip(), table.strip())
        for match in GRANT.finditer(found[1])
        for right in match["rights"].split(",")
        for table in match["tables"].split(",")
    }


class Database:
    """A database that is set up, and a role in it."""

    def __init__(self, url: str, role: str) -> None:
        self.url, self.role = url, role
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        self.theirs = parts._replace(netloc=f"{role}:x@{place}").geturl()
        self._connection = psycopg.connect(url, autocommit=True)

    def run(self, statement: str, right: Right) -> None:
        words = {"right": sql.SQL(right[0]), "table": sql.SQL(right[1])}
        who = sql.Identifier(self.role)
        self._connection.execute(sql.SQL(statement).format(**words, role=who))

    def grant(self, right: Right) -> None:
        self.run("GRANT {right} ON {table} TO {role}", right)

    def revoke(self, right: Right) -> None:
        self.run("REVOKE {right} ON {table} FROM {role}", right)

    def allow(self, rights: set[Right]) -> None:
        """These and no others."""
        who = sql.Identifier(self.role)
        everything = sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(who)
        self._connection.execute(everything)
        for right in sorted(rights):
            self.grant(right)

    def can(self, job: Job) -> bool:
        """Whether the role can do *job*, with a worker, and tasks that others published."""
        with permissions.user(self.url) as full:
            permissions.live(full.storage)
            for _ in range(3):
                full.app.send_task("shop.pay", [1], {"card": "x"})
                full.app.send_task("shop.pay", [1], {"card": "x"}, countdown=3600)
        return can(self.theirs, job)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def role_in(server: str, url: str) -> Iterator[str]:
    """A role of *server*, and what it has in *url* gone with it."""
    name = f"fullresult_test_{uuid4().hex[:8]}"
    who = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(who))
    try:
        yield name
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(who))
            connection.execute(sql.SQL("DROP ROLE {}").format(who))


@pytest.fixture(scope="module")
def database(postgresql_server: str) -> Iterator[Database]:
    with ExitStack() as stack:
        url = stack.enter_context(servers.postgresql_database(postgresql_server))
        with permissions.user(url) as full:
            full.setup()
        found = Database(url, stack.enter_context(role_in(postgresql_server, url)))
        stack.callback(found.close)
        yield found


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is refused is logged, and that is not the question here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.parametrize("role", list(JOBS))
def test_a_role_can_do_its_job_with_its_grants(database: Database, role: str) -> None:
    database.allow(grants(role))

    assert database.can(JOBS[role])


def cases() -> Iterator[Any]:
    """Every role and every grant of it; a few of them in a normal run."""
    for role in JOBS:
        for right in sorted(grants(role)):
            often = pytest.mark.slow if role in {"publisher", "purger"} else pytest.mark.campaign
            yield pytest.param(role, right, marks=often, id=f"{role}-{'-'.join(right)}")


@pytest.mark.parametrize(("role", "right"), list(cases()))
def test_without_any_of_its_grants_it_cannot(database: Database, role: str, right: Right) -> None:
    database.allow(grants(role))

    database.revoke(right)

    assert not database.can(JOBS[role])


def refusal(url: str, job: Job) -> str:
    """What a user is told who cannot do *job*."""
    with permissions.user(url) as full:
        try:
            job(full)
        except StorageError as error:
            return str(error)
    return "nothing"


@pytest.mark.slow
def test_a_reader_is_told_which_table_it_may_not_read(database: Database) -> None:
    rights = grants("reader")
    database.allow(rights)
    assert database.can(JOBS["reader"])
    told = {}
    for right in rights:
        database.revoke(right)
        told[right[1]] = refusal(database.theirs, JOBS["reader"])
        database.grant(right)

    for table, sentence in told.items():
        assert f"permission denied for table {table}" in sentence
        assert ":x@" not in sentence


def strangers() -> Iterator[Any]:
    """Every role and the job of every other one whose grants it lacks."""
    for role in JOBS:
        for other in JOBS:
            if not grants(other) <= grants(role):
                often = pytest.mark.slow if role == "reader" else pytest.mark.campaign
                yield pytest.param(role, other, marks=often, id=f"{role}-as-{other}")


@pytest.mark.parametrize(("role", "other"), list(strangers()))
def test_it_cannot_do_the_job_of_another(database: Database, role: str, other: str) -> None:
    database.allow(grants(role))

    assert not database.can(JOBS[other])


@pytest.mark.slow
def test_nobody_but_the_upgrader_may_change_the_schema(
    postgresql_server: str, postgresql_url: str
) -> None:
    """Which is then its own; who is granted something works with what it made."""
    with role_in(postgresql_server, postgresql_url) as name:
        empty = Database(postgresql_url, name)
        may_not = can(empty.theirs, FullResult.setup) if _is_closed(postgresql_url) else False
        empty.run("GRANT {right} ON SCHEMA {table} TO {role}", ("USAGE, CREATE", "public"))
        with permissions.user(empty.theirs) as full:
            full.setup()
            full.setup()
        empty.close()
        with role_in(postgresql_server, postgresql_url) as other:
            theirs = Database(postgresql_url, other)
            theirs.allow(grants("worker"))
            works, changes = can(theirs.theirs, JOBS["worker"]), can(theirs.theirs, _alter)
            theirs.close()

    assert (may_not, works, changes) == (False, True, False)


def _is_closed(url: str) -> bool:
    """Whether not everybody may make tables, as before PostgreSQL 15."""
    with psycopg.connect(url) as connection:
        return connection.info.server_version >= 150_000


def _alter(full: Any) -> None:
    full.storage._database.ask("ALTER TABLE fullresult_task ADD COLUMN x int", ())


# --- SQLite


def test_the_files_of_sqlite_are_their_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        with permissions.user(f"sqlite:///{tmp_path}/records.db") as full:
            full.app.send_task("shop.pay")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(["records.db", "records.db-wal", "records.db-shm"], 0o600)


def test_a_group_can_share_the_files_of_sqlite(tmp_path: Path) -> None:
    """If somebody made the file so."""
    file = tmp_path / "records.db"
    file.touch(mode=0o660)
    file.chmod(0o660)

    with permissions.user(f"sqlite:///{file}") as full:
        full.app.send_task("shop.pay")
        modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}

    assert modes == {0o660}


# --- MongoDB


@pytest.fixture(scope="module")
def mongodb_with_users() -> Iterator[str]:
    """The place of a server that asks who comes, and has the users of the documentation."""
    with servers._mongod("--auth") as port:
        place = f"{servers.HOST}:{port}"
        with pymongo.MongoClient[dict[str, Any]](place) as client:
            client.admin.command("createUser", "root", pwd="x", roles=["root"])
        with pymongo.MongoClient[dict[str, Any]](f"mongodb://root:x@{place}/") as client:
            tasks = client["tasks"]
            tasks.command("createRole", "fullresultPublisher", **_publishers_role())
            for name, role in {
                "writer": "readWrite",
                "reader": "read",
                "publisher": "fullresultPublisher",
            }.items():
                tasks.command("createUser", name, pwd="x", roles=[role])
        yield place


def _publishers_role() -> dict[str, Any]:
    """That of the page, read from it."""
    block = re.search(r"```javascript\n(.*?)```", PAGE, re.DOTALL)
    assert block
    found = re.findall(r'collection: "(\w+)"\}, actions: \[(.*?)\]', block[1])
    privileges = [
        {
            "resource": {"db": "tasks", "collection": collection},
            "actions": re.findall(r'"(\w+)"', actions),
        }
        for collection, actions in found
    ]
    assert len(privileges) == 2
    return {"privileges": privileges, "roles": []}


def can_on_mongodb(place: str, name: str, job: Job) -> bool:
    return can(f"mongodb://{name}:x@{place}/tasks", job)


@pytest.mark.slow
def test_on_mongodb_each_role_can_do_what_it_is_for_and_no_more(mongodb_with_users: str) -> None:
    with permissions.user(f"mongodb://writer:x@{mongodb_with_users}/tasks") as full:
        full.setup()
        for _ in range(5):
            full.app.send_task("shop.pay", [1], {"card": "x"})
            full.app.send_task("shop.pay", [1], {"card": "x"}, countdown=3600)

    can = {
        name: {role for role, job in JOBS.items() if can_on_mongodb(mongodb_with_users, name, job)}
        for name in ("publisher", "reader", "writer")
    }

    assert can["publisher"] == {"publisher"}
    assert can["reader"] == {"reader"}
    # An outbox takes a connection of the caller's: its grants are PostgreSQL's.
    assert can["writer"] == set(JOBS) - {"publisher into an outbox"}

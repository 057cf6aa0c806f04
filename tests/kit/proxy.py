"""A TCP proxy that does to a connection what networks do: cut it, swallow an answer, be slow.

    with proxy("127.0.0.1", 6379) as between:
        between.plan = once(b"LPUSH", LoseAnswer())

`plan` is asked for every piece that a client sends, before the server sees it, and may be replaced
at any time; `refuse()` turns clients away until `accept()`; `cut_all()` ends what is open. `listen`
makes an `Ear` for each new connection, which hears what passes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK = 0.1
_PATIENCE = 10.0
_PIECE = 65536


@dataclass(frozen=True)
class Cut:
    """The connection ends after *after* bytes of this piece."""

    after: int = 0


@dataclass(frozen=True)
class LoseAnswer:
    """The server gets this piece and answers it; the answer is lost, and the connection with it.

    The connection ends *seconds* later.
    """

    seconds: float = 0


@dataclass(frozen=True)
class Delay:
    """The server gets this piece *seconds* later."""

    seconds: float


Fault: TypeAlias = Cut | LoseAnswer | Delay


class Ear(Protocol):
    """Hears one connection, from its first byte on."""

    def asked(self, piece: bytes) -> None:
        """The client sends *piece*, which the server has not seen yet."""

    def answered(self, piece: bytes) -> None:
        """The server sends *piece*, which the client has not seen yet."""


def no_fault(piece: bytes) -> Fault | None:  # noqa: ARG001
    return None


def once(marker: bytes, fault: Fault, *, skip: int = 0) -> Callable[[bytes], Fault | None]:
    """A plan: the first piece with *marker*, after *skip* others, meets *fault*."""
    lock = threading.Lock()
    left = skip

    def plan(piece: bytes) -> Fault | None:
        nonlocal left
        with lock:
            if marker not in piece or left < 0:
                return None
            left -= 1
            return fault if left < 0 else None

    return plan


class Proxy:
    """What listens on `port` for *host*'s *target* port."""

    def __init__(self, host: str, target: int) -> None:
        self._address = host, target
        self._listener = socket.create_server((servers.HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.plan: Callable[[bytes], Fault | None] = no_fault
        self.listen: Callable[[], Ear] | None = None
        self.faults = 0
        """How many were met."""
        self.open = 0
        """How many connections there are."""
        self._refusing = False
        self._generation = 0
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._listen)

    def refuse(self) -> None:
        """Turn away whoever comes, and end what is open."""
        self._refusing = True
        self.cut_all()

    def accept(self) -> None:
        """Let clients in again."""
        self._refusing = False

    def cut_all(self) -> None:
        """End all connections there are."""
        self._generation += 1

    def heal(self) -> None:
        """Be a good network."""
        self.plan = no_fault
        self.accept()

    def close(self) -> None:
        self._closed.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _start(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                if not select.select([self._listener], [], [], _TICK)[0]:
                    continue
                client, _ = self._listener.accept()
            except (OSError, ValueError):
                return  # closed
            if self._refusing:
                _hang_up(client)
            else:
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address, timeout=_PATIENCE)
        except OSError:
            _hang_up(client)
            return
        self.open += 1
        for each in (client, server):
            each.settimeout(_PATIENCE)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        generation = self._generation
        ear = self.listen() if self.listen is not None else None
        with contextlib.suppress(OSError):
            while generation == self._generation and not self._closed.is_set():
                if not self._pass_on(client, server, ear):
                    break
        _hang_up(client)
        _hang_up(server)
        self.open -= 1

    def _pass_on(self, client: socket.socket, server: socket.socket, ear: Ear | None) -> bool:
        """Move what there is to move; whether the connection goes on."""
        ready = select.select([client, server], [], [], _TICK)[0]
        if server in ready:
            piece = server.recv(_PIECE)
            if ear is not None:
                ear.answered(piece)
            client.sendall(piece)
            if not piece:
                return False
        if client in ready:
            piece = client.recv(_PIECE)
            if ear is not None:
                ear.asked(piece)
            return bool(piece) and self._forward(piece, server)
        return True

    def _forward(self, piece: bytes, server: socket.socket) -> bool:
        fault = self.plan(piece)
        if fault is None:
            server.sendall(piece)
            return True
        self.faults += 1
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
            server.sendall(piece)
            return True
        if isinstance(fault, Cut):
            server.sendall(piece[: fault.after])
            return False
        server.sendall(piece)
        server.recv(_PIECE)  # it did what it was asked
        time.sleep(fault.seconds)
        return False


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # At once, whatever is on its way.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def proxy(host: str, target: int) -> Iterator[Proxy]:
    """A proxy before *target*, until the end of the block."""
    between = Proxy(host, target)
    try:
        yield between
    finally:
        between.close()

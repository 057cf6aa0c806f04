"""What passes between a storage and its server: statements, round trips and bytes.

    with listening(url) as (wire, through):
        ...                # a storage at the URL *through*
        wire.statements    # what the server was asked, in order
        wire.turns         # round trips: how often the client spoke after the server did
        wire.sent, wire.received
        with wire.silence():
            ...            # no answer comes, and no question arrives

Connecting is left out: PostgreSQL's begins to count after the server is ready for the first time,
and MongoDB's greetings and looks at its server are no statements.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.kit.proxy import Ear
from tests.kit.scheduling import through_proxy


@dataclass(frozen=True)
class Statement:
    """What one server was asked once."""

    text: str
    """PostgreSQL's SQL, or the name of MongoDB's command."""
    document: dict[str, Any] = field(default_factory=dict)
    """MongoDB's command, with the documents that travel beside it."""


class Wire:
    """What all connections to one server said, since the beginning or `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._may_pass = threading.Event()
        self._may_pass.set()
        self.clear()

    def clear(self) -> None:
        self.statements: list[Statement] = []
        self.turns = self.sent = self.received = 0

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Whoever asks waits until the end of the block."""
        self._may_pass.clear()
        try:
            yield
        finally:
            self._may_pass.set()

    def let_pass(self, _piece: bytes) -> None:
        """The plan of the proxy: wait until there is no silence."""
        self._may_pass.wait()

    def asked(self, size: int, *, new_turn: bool) -> None:
        with self._lock:
            self.sent += size
            self.turns += new_turn

    def answered(self, size: int) -> None:
        with self._lock:
            self.received += size

    def stated(self, statement: Statement) -> None:
        with self._lock:
            self.statements.append(statement)


class PostgreSQLEar:
    """Takes the messages of PostgreSQL's protocol apart, version 3."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._asked, self._answered = bytearray(), bytearray()
        self._is_greeting = self._is_connecting = True
        self._speaks = False
        self._texts: dict[bytes, str] = {}
        """The prepared statements, by name."""
        self._bound: dict[bytes, str] = {}
        """The statements of portals, by name."""

    def asked(self, piece: bytes) -> None:
        self._asked += piece
        if not self._is_connecting:
            self._wire.asked(len(piece), new_turn=not self._speaks)
        self._speaks = True
        while (message := self._next()) is not None:
            self._understand(*message)

    def answered(self, piece: bytes) -> None:
        self._speaks = False
        if not self._is_connecting:
            self._wire.answered(len(piece))
            return
        self._answered += piece
        # ReadyForQuery: a letter, four bytes of length and one of the transaction's state.
        self._is_connecting = not self._answered.endswith(b"Z\x00\x00\x00\x05I")

    def _next(self) -> tuple[bytes, bytes] | None:
        kind = b"" if self._is_greeting else bytes(self._asked[:1])
        start = len(kind)
        if len(self._asked) < start + 4:
            return None
        (length,) = struct.unpack_from("!i", self._asked, start)
        if len(self._asked) < start + length:
            return None
        content = bytes(self._asked[start + 4 : start + length])
        del self._asked[: start + length]
        return kind, content

    def _understand(self, kind: bytes, content: bytes) -> None:
        if self._is_greeting:
            # Before it, a client may ask for encryption, by a version that there is none of.
            self._is_greeting = struct.unpack_from("!i", content)[0] >> 16 != 3
        elif kind == b"Q":
            self._wire.stated(Statement(content[:-1].decode()))
        elif kind == b"P":
            name, text, _ = content.split(b"\0", 2)
            self._texts[name] = text.decode()
        elif kind == b"B":
            portal, name, _ = content.split(b"\0", 2)
            self._bound[portal] = self._texts[name]
        elif kind == b"E":
            self._wire.stated(Statement(self._bound[content.split(b"\0", 1)[0]]))


class MongoEar:
    """Takes the messages of MongoDB's protocol apart: OP_MSG, which drivers send since 3.6."""

    _LOOKS = frozenset({"hello", "ismaster", "isMaster", "ping", "endSessions", "buildInfo"})
    _OP_MSG = 2013

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._asked, self._answered = bytearray(), bytearray()
        self._open: set[int] = set()
        """The ids of statements that have no answer yet."""

    def asked(self, piece: bytes) -> None:
        self._asked += piece
        while (message := self._next(self._asked)) is not None:
            size, number, _, code, content = message
            statement = self._statement(content) if code == self._OP_MSG else None
            if statement is not None and statement.text not in self._LOOKS:
                self._open.add(number)
                self._wire.asked(size, new_turn=True)
                self._wire.stated(statement)

    def answered(self, piece: bytes) -> None:
        self._answered += piece
        while (message := self._next(self._answered)) is not None:
            size, _, answers, _, _ = message
            if answers in self._open:
                self._open.remove(answers)
                self._wire.answered(size)

    @staticmethod
    def _next(heard: bytearray) -> tuple[int, int, int, int, bytes] | None:
        if len(heard) < 16:
            return None
        size, number, answers, code = struct.unpack_from("<iiii", heard)
        if len(heard) < size:
            return None
        content = bytes(heard[16:size])
        del heard[:size]
        return size, number, answers, code, content

    @staticmethod
    def _statement(content: bytes) -> Statement:
        import bson

        document: dict[str, Any] = {}
        place = 4
        while place < len(content):
            kind, place = content[place], place + 1
            (size,) = struct.unpack_from("<i", content, place)
            section = content[place : place + size]
            if kind == 0:  # the command itself; its name is the first key
                document = {**bson.decode(section), **document}
            else:
                name, _, rest = section[4:].partition(b"\0")
                document[name.decode()] = bson.decode_all(rest)
            place += size
        return Statement(next(iter(document)), document)


@contextmanager
def listening(url: str) -> Iterator[tuple[Wire, str]]:
    """A proxy before the server of *url* that hears what passes, and the URL through it."""
    wire = Wire()
    kind: Callable[[Wire], Ear] = MongoEar if urlsplit(url).scheme == "mongodb" else PostgreSQLEar
    with through_proxy(url) as (between, through):
        between.plan, between.listen = wire.let_pass, lambda: kind(wire)
        yield wire, through

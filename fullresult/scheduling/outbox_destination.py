"""The database that an outbox is in: who writes there, and if a connection leads to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from celery.exceptions import ImproperlyConfigured

from fullresult.storage import OutboxStorage, is_same

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import Addressed, AsyncOutboxWriter, Identity, OutboxWriter, Storage

_MOST_CHECKED = 1000
_LEADS_ELSEWHERE = (
    "; a database that has not the records may have an outbox of its own: name it in "
    "fullresult_outboxes, and in outbox(…, database=…)"
)


class Destination:
    """A storage as the end of a caller's connections. What it is told by one thread, all know."""

    def __init__(
        self,
        app: object,
        settings: Settings,
        storage: Storage,
        ask: Callable[[object], object | None],
        name: str | None = None,
    ) -> None:
        """*name* is that in `fullresult_outboxes`, None for `fullresult_storage`.

        *ask* says what writes by a connection that the storage does not know.
        """
        self.app = app
        self._settings = settings
        self._storage = storage
        self._ask = ask
        self._key = "fullresult_storage" if name is None else f"fullresult_outboxes[{name!r}]"
        self._remedy = _LEADS_ELSEWHERE if name is None else ""
        self._checked: set[str] = set()

    def writer(self, connection: Any) -> OutboxWriter | AsyncOutboxWriter:
        """A writer by *connection*. Raises `ValueError` if it cannot lead here."""
        storage = self._outbox_storage
        writer = storage.writer(connection) or self._writer_of_plugin(connection)
        if writer is None:
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            raise ValueError(
                f"a {kind} cannot lead to {self._storage!r}, and an outbox is in the database of "
                f"your data: {self._key} must name that database{self._remedy}"
            )
        return writer

    @property
    def _outbox_storage(self) -> OutboxStorage:
        if not isinstance(self._storage, OutboxStorage):
            raise ImproperlyConfigured(
                f"this storage has no outbox: choose another {self._key}{self._remedy}"
            )
        return self._storage

    def _writer_of_plugin(self, connection: Any) -> OutboxWriter | AsyncOutboxWriter | None:
        found: Any = self._ask(connection)
        if found is None or hasattr(found, "write_later") or hasattr(found, "identity"):
            return cast("OutboxWriter | AsyncOutboxWriter | None", found)
        return self._outbox_storage.writer(found)

    def is_checked(self, writer: Addressed) -> bool:
        """True if the database of *writer* is known to be this one."""
        return writer.address in self._checked

    def check(self, writer: Addressed, identity: Callable[[], Identity]) -> None:
        """Raise `ValueError` unless the database of *writer* is this one. Asked once."""
        address = writer.address
        if address in self._checked:
            return
        found = identity()
        if not is_same(found, self._outbox_storage.identity()):
            what = "another database" if found else "a database without the tables of fullresult"
            raise ValueError(
                f"the connection leads to {address}, which is {what}: nobody would send its tasks; "
                f"{self._key} is {self._storage!r}{self._remedy}"
            )
        if len(self._checked) >= _MOST_CHECKED:
            self._checked.clear()
        self._checked.add(writer.address)  # one that had not connected has its address only now

    def wake(self) -> str | None:
        """The namespace whose sweepers are to be told of a commit; None if they only look."""
        return self._settings.namespace if self._settings.outbox_wake == "notify" else None

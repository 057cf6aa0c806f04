"""Saved groups, and what is kept beside the records as a group is."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta, timezone
from typing import Any

from celery.result import GroupResult, result_from_tuple
from kombu.utils.encoding import ensure_bytes

from fullresult.record import encoding
from fullresult.results.getting import WaitingBackend
from fullresult.results.meta import Meta


class SavingBackend(WaitingBackend):
    """A backend that saves groups."""

    @abstractmethod
    def _decoded(self, body: bytes, content_type: str, content_encoding: str) -> Meta: ...

    def expire_at(self) -> datetime | None:
        """When what is kept from now on may be deleted; None: never."""
        if not self.expires:
            return None
        return datetime.now(timezone.utc) + timedelta(seconds=self.expires)

    def as_kept(self, known: Meta) -> bytes:
        """*known*, serialised. Raises kombu's `EncodeError`."""
        return ensure_bytes(self.encode(known))  # type: ignore[no-any-return]

    def from_kept(self, value: bytes) -> Meta:
        """What `as_kept` serialised."""
        return self._decoded(value, self.content_type, self.content_encoding)

    def _save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        value = self.as_kept({"result": result.as_tuple()})
        self._here.results.save_group(encoding.key(group_id), value, self.expire_at())
        return result

    def _restore_group(self, group_id: str) -> Meta | None:
        value = self._here.results.restore_group(encoding.key(group_id))
        if value is None:
            return None
        meta = self.from_kept(value)
        meta["result"] = result_from_tuple(meta["result"], self.app)
        return meta

    def _delete_group(self, group_id: Any) -> None:
        self._here.results.delete_group(encoding.key(group_id))

"""The collection of Celery's `mongodb` result backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from fullresult.config.urls import without_password
from fullresult.importers.errors import CannotImport
from fullresult.importers.groups import Group
from fullresult.importers.row import Row, Unreadable, date, number, state_of, text
from fullresult.importers.source import UNREADABLE, Options, Read, named, read_one
from fullresult.importers.values import (
    Given,
    children_of,
    failed_of,
    from_any,
    given_plain,
    members_of,
)
from fullresult.record.states import SUCCESS

_EXCEPTIONS = ("FAILURE", "RETRY", "REVOKED")
_OPEN = {"$nin": ["SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED"]}


class CeleryMongoDB:
    """Results of Celery 5.4 to 5.7, extended or not."""

    name = "celery-mongodb"
    missing = "links, headers, priority, ETA, limits, when it was published and started"

    def __init__(self, url: str, database: str | None, options: Options) -> None:
        try:
            import pymongo
            from pymongo.errors import PyMongoError
        except ImportError as error:
            raise CannotImport('MongoDB needs PyMongo: pip install "fullresult[mongo]"') from error

        self._error = PyMongoError
        self._options = options
        collection = options.table or "celery_taskmeta"
        self.shown = f"{without_password(url)} {collection}"  # for the errors of the URL
        try:
            self._client: Any = pymongo.MongoClient(
                url, serverSelectionTimeoutMS=10_000, tz_aware=False
            )
            found = self._client.get_default_database(database or "celery")
            self._collection = found[collection]
            self._groups = found["celery_groupmeta"]
            self.shown = f"{without_password(url)} {found.name}.{collection}"
            if not self._collection.find_one({}, {"_id": 1}) and collection not in (
                found.list_collection_names()
            ):
                raise CannotImport(
                    f"{self.shown}: the database {found.name} has no collection {collection}, "
                    "in which Celery keeps results"
                )
        except (PyMongoError, ValueError) as error:  # a ValueError is about the port
            raise self._told(error) from error

    def count(self, after: Any) -> int:
        where = _behind(self._since(), after)
        try:
            if not where:
                return int(self._collection.estimated_document_count())
            return int(self._collection.count_documents(where))
        except self._error as error:
            raise self._told(error) from error

    def pages(self, after: Any) -> Iterator[list[Read]]:
        yield from self._walk(self._since(), after)

    def changed(self, since: datetime) -> Iterator[list[Read]]:
        # A task that is not over has no date.
        moved = {"$or": [{"date_done": {"$gte": self._naive(since)}}, {"status": _OPEN}]}
        yield from self._walk(moved, None)

    def groups(self) -> Iterator[Group]:
        try:
            for document in self._groups.find():
                with suppress(*UNREADABLE):
                    yield Group(str(document["_id"]), members_of(from_any(document["result"])))
        except self._error as error:
            raise self._told(error) from error

    def close(self) -> None:
        self._client.close()

    def _since(self) -> dict[str, Any]:
        since = self._options.since
        if since is None:
            return {}
        return {"$or": [{"date_done": {"$gte": self._naive(since)}}, {"date_done": None}]}

    def _naive(self, when: datetime) -> datetime:
        return when.astimezone(self._options.zone).replace(tzinfo=None)

    def _walk(self, where: Mapping[str, Any], after: Any) -> Iterator[list[Read]]:
        while True:
            behind = _behind(where, after)
            try:
                page = self._collection.find(behind).sort("_id", 1).limit(self._options.page)
                found = list(page)
            except self._error as error:
                raise self._told(error) from error
            if not found:
                return
            after = found[-1]["_id"]
            yield [read_one(self._row, each, each["_id"], each["_id"]) for each in found]

    def _row(self, document: Mapping[str, Any]) -> Row:
        task_id, state = document["_id"], state_of(document["status"])
        if not isinstance(task_id, str):
            raise Unreadable(f"its id is no text: {task_id!r}")
        parent = text(document.get("parent_id"))
        row = Row(
            task_id=task_id,
            state=state,
            position=task_id,
            changed=date(document, "date_done", self._options.zone),
            name=text(document.get("name")),
            worker=text(document.get("worker")),
            queue=text(document.get("queue")),
            retries=number(document.get("retries")),
            group_id=text(document.get("group_id")),
            parent_id=None if parent == task_id else parent,  # a retry is its own parent
            traceback=document.get("traceback") or None,
            children=children_of(document.get("children")),
        )
        row.args, row.kwargs = (
            given_plain(document.get("args")),
            given_plain(document.get("kwargs")),
        )
        stamped = document.get("stamped_headers")
        if isinstance(stamped, list):
            row.stamps = {name: document[name] for name in stamped if name in document}
        content = document.get("result")
        is_encoded = isinstance(content, (str, bytes))
        value = named("result", from_any, content) if is_encoded else content
        if state in _EXCEPTIONS:
            row.exception_type, row.exception_message = failed_of(value)
        elif value is not None or state == SUCCESS:
            row.result = Given.of(value)
        return row

    def _told(self, error: Exception) -> CannotImport:
        return CannotImport(f"{self.shown}: {without_password(str(error))}")


def _behind(where: Mapping[str, Any], after: Any) -> Mapping[str, Any]:
    return where if after is None else {"$and": [{"_id": {"$gt": after}}, where]}

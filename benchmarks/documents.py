"""The records of `filling.py` in an empty MongoDB, written as the storage's own documents."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pymongo

from benchmarks.filling import (
    CAUSES,
    EPOCH,
    KWARGSREPR,
    NEWEST_OPEN,
    RARE_NAME,
    RARE_QUEUE,
    Filled,
    name_of,
)
from fullresult.record import (
    FAILURE,
    PENDING,
    REVOKED,
    STARTED,
    SUCCESS,
    Message,
    Outcome,
    Start,
    TaskRecord,
)
from fullresult.record.states import is_open
from fullresult_storage_mongo.records import document, parts_of

if TYPE_CHECKING:
    from datetime import datetime

_BATCH = 2_000
_DONE = frozenset({SUCCESS, FAILURE, REVOKED})
_RAN = frozenset({SUCCESS, FAILURE, STARTED})
_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
_PROPERTIES = '{"delivery_mode": 2, "reply_to": "d286d091-cf2b-3151-b124-c558f838ee58"}'


def fill_mongodb(url: str, rows: int, start: datetime = EPOCH) -> Filled:
    """Fill the empty collection in the database at *url*, whose indexes are made afterwards."""
    filled = Filled(rows, start)
    with pymongo.MongoClient[dict[str, Any]](url, w=1) as client:
        tasks = client.get_default_database()["fullresult_task"]
        indexes = [index for index in tasks.list_indexes() if index["name"] != "_id_"]
        tasks.drop_indexes()
        documents = (document(parts_of(_record(filled, i))) for i in range(1, rows + 1))
        while batch := list(islice(documents, _BATCH)):
            tasks.insert_many(batch, ordered=False)
        made = [{name: value for name, value in index.items() if name != "v"} for index in indexes]
        if made:
            tasks.database.command("createIndexes", tasks.name, indexes=made)
        client.admin.command("fsync")
    return filled


def _record(filled: Filled, i: int) -> TaskRecord:
    h, j = (i * 7919 + i // 1000) % 1000, (i * 48271 + 11) % 99_991
    created, tail, task_id = filled.created(i), f"{i:022x}", filled.task_id(i)
    state, name = _state(filled, i, h), RARE_NAME if i % 20_000 == 5 else name_of(j)
    headers = _headers(i, h, name, task_id)
    ran = state in _RAN
    return TaskRecord(
        task_id,
        created,
        created,
        created,
        outcome=Outcome(
            stamp=f"000000000{'69' if state in _DONE else '20'}{tail}",
            state=state,
            open=is_open(state),
            retries=0,
            worker=f"celery@host-{i % 8}" if ran else None,
            date_started=created if ran else None,
            date_done=created if state in _DONE else None,
            stale_from=created,
            runtime=0.25 if state in _DONE else None,
            result=f'{{"charged": {j}, "currency": "EUR"}}' if state == SUCCESS else None,
            result_text=None,
            result_form="json" if state == SUCCESS else None,
            exception_type="shop.errors.CardDeclined" if state == FAILURE else None,
            exception_message=f"card {i} was declined" if state == FAILURE else None,
            traceback=f"Traceback (most recent call last): {headers}" if state == FAILURE else None,
            children=None,
            fingerprint=f"1-{1_000_000 + j % CAUSES}" if state == FAILURE else None,
        ),
        message=_message(filled, i, f"00000000020{tail}", name, headers),
        start=Start(f"00000000040{tail}", "celery@host", created) if ran else None,
    )


def _state(filled: Filled, i: int, h: int) -> str:
    newest = i > filled.rows - NEWEST_OPEN
    if newest and i % 2 == 0:
        return PENDING
    if newest or i % filled.stale_every == 77:
        return STARTED
    return SUCCESS if h < 970 else FAILURE if h < 992 else REVOKED


def _message(filled: Filled, i: int, stamp: str, name: str, headers: str) -> Message:
    h, j = (i * 7919 + i // 1000) % 1000, (i * 48271 + 11) % 99_991
    args = f'[{h}, "item-{j}"]'
    kwargs = (
        f'{{"order_id": {i}, "customer": "c-{j}", "flag": {"true" if h % 2 == 0 else "false"}, '
        f'"batch": {h}, "plan": "{"old" if i <= filled.rows // 10 else "new"}", '
        f'"shipping": {{"country": "PT", "zip": {j * 7}}}}}'
    )
    queue = "celery" if h < 600 else "mail" if h < 850 else "reports"
    queue = RARE_QUEUE if i % 100_000 == 9 else queue
    root = f"root-{i // 100}" if i % 10 == 3 else None
    return Message(
        stamp=stamp,
        name=name,
        args=args,
        kwargs=kwargs,
        embed=_EMBED,
        body=f"[{args}, {kwargs}, {_EMBED}]".encode(),
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        properties=_PROPERTIES,
        exchange="",
        routing_key=queue,
        queue=queue,
        priority=0,
        eta=None,
        expires=None,
        root_id=root or filled.task_id(i),
        parent_id=root,
        group_id=f"group-{i // 400}" if i % 20 == 4 else None,
        retry_of=None,
        notes=None,
    )


def _headers(i: int, h: int, name: str, task_id: str) -> str:
    return (
        f'{{"lang": "py", "retries": 0, "task": "{name}", "id": "{task_id}",'
        ' "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null,'
        f' "root_id": "{task_id}", "timelimit": [null, null], "parent_id": null,'
        f' "argsrepr": "({h},)", "kwargsrepr": "{i}{KWARGSREPR}",'
        ' "origin": "gen3674@host", "stamps": {}}'
    )

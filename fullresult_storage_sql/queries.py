"""A `TaskQuery` as SQL: conditions, order and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fullresult.record import FAILURE, NOT_RUN, SUCCESS, encoding
from fullresult.storage import OPEN, OWN_SECTION, TaskQuery, as_recorded, is_of_few
from fullresult.storage import sections_of as sections_told
from fullresult_storage_sql import globs
from fullresult_storage_sql.database import Condition, Database, Path
from fullresult_storage_sql.rows import date_text

_Ids = Callable[[Database, TaskQuery], Condition]

_EQUAL = ("queue", "worker", "group_id", "retry_of", "fingerprint")
_NEVER_RAN = "substr(t.outcome_stamp, 10, 2) = '-0'"
"""Holds for a FAILURE that is a NOT_RUN; see `state` in the statements."""
_WALKED = 5_000
"""Records, in the order asked for, that are looked through before an index is asked for JSON."""
_WALKED_SCATTERED = 1_000
"""The same where each record lies on a page of its own, or the index costs little."""
_NAMES = 200_000
"""Names of tasks, within those that a glob can match, that are tried one by one."""
_MATCHING = 10_000
"""Names that match of which the records are looked for one name after the other."""
_PAGE = 10_000
"""Rows from which a page is read without looking for its ids first."""


def select(database: Database, query: TaskQuery) -> tuple[str, list[Any]]:
    """WHERE, ORDER BY and LIMIT of *query*, to follow a FROM fullresult_task AS t."""
    order = _order(query)
    if query.limit is None or query.limit > _PAGE:
        where, values = conditions(database, query)
        return f"{where}{order}", values
    page = f"{order} LIMIT {query.limit:d}"
    how = _how(database, query)
    if how is None:
        where, values = conditions(database, query)
        return f"{where}{page}", values
    ids, values = how(database, query)
    return f" WHERE t.task_id IN ({ids}){page}", values


def sections_of(query: TaskQuery) -> frozenset[str] | None:
    """The sections that have the records of *query*. One has both FAILURE and NOT_RUN."""
    sections = sections_told(query)
    return None if sections is None else frozenset(_stored(sections))


def _stored(states: Collection[str]) -> list[str]:
    """*states* as the column has them."""
    return sorted({FAILURE if state == NOT_RUN else state for state in states})


def _order(query: TaskQuery) -> str:
    direction = "DESC" if query.order == "newest" else "ASC"
    return f" ORDER BY t.date_created {direction}, t.task_id {direction}"


def _how(database: Database, query: TaskQuery) -> _Ids | None:
    """The way to a page's ids, if walking along one index in order is not enough."""
    if is_of_few(query):
        return _page_of_rare
    index = database.json_index(query)
    if index == "unordered":
        return _page_by_walk_then_index
    if query.name_is_glob and index is None:
        return _page_by_walk_then_names
    if len(_sections(query) or ()) > 1:
        return _page_of_sections
    return None


def _page_of_rare(database: Database, query: TaskQuery) -> Condition:
    where, values = conditions(database, query)
    return _filled(database, "page_of_rare", query, where=where), values


def _page_by_walk_then_index(database: Database, query: TaskQuery) -> Condition:
    where, values = conditions(database, query)
    walk, first = _walk(database, query, _WALKED)
    return _filled(database, "page_by_walk_then_index", query, where=where, walk=walk), [
        *first,
        *values,
        *values,
    ]


def _page_by_walk_then_names(database: Database, query: TaskQuery) -> Condition:
    assert query.name is not None
    where, values = conditions(database, query)
    walk, first = _walk(database, query, _WALKED_SCATTERED)
    like, pattern = database.name_like(query.name)
    between, ends = _between(database, query.name)
    rest, last = conditions(database, replace(query, name=None))
    parts = {"where": where, "walk": walk, "like": like, "between": between}
    parts["rest"] = rest.replace(" WHERE ", " AND ", 1)
    parts |= {"most": f"{_NAMES:d}", "few": f"{_MATCHING:d}"}
    sql = _filled(database, "page_by_walk_then_names", query, **parts)
    return sql, [*first, *values, *ends, *ends, *pattern, *last, *values, *ends]


def _between(database: Database, pattern: str) -> Condition:
    """Between which names those are that a glob can match."""
    least, beyond = globs.bounds(pattern)
    mark = database.placeholder
    if beyond is None:
        return f"t.name >= {mark}", [least]
    return f"t.name >= {mark} AND t.name < {mark}", [least, beyond]


def _page_of_sections(database: Database, query: TaskQuery) -> Condition:
    parts, values = [], []
    for section in sorted(_sections(query) or ()):
        where, asked = _where(list(_conditions(database, query, [section])))
        ids = f"{database.sql['ids']}{where}{_order(query)} LIMIT {query.limit:d}"
        parts.append(database.sql["ids_in"].format(found=ids))
        values += asked
    return " UNION ALL ".join(parts), values


def _walk(database: Database, query: TaskQuery, walked: int) -> Condition:
    """The next records in order, by an index in that order."""
    found = list(_date_conditions(database.placeholder, query))
    sections = sections_of(query)
    if sections and len(sections) == 1:
        walked = _WALKED_SCATTERED
        found.append(database.in_sections(sorted(sections)))
    elif query.name is not None and not query.name_is_glob:
        walked = _WALKED_SCATTERED
        found.append((f"t.name = {database.placeholder}", [query.name]))
    where, values = _where(found)
    return f"{where}{_order(query)} LIMIT {walked}", values


def tally(database: Database, query: TaskQuery, looked: int) -> Condition:
    """The statement that counts by state what meets *query* among the first *looked* records."""
    query = replace(query, after=None)
    walk, first = _along(database, query, f" LIMIT {looked:d}")
    found, values = conditions(database, query)
    wanted = found.removeprefix(" WHERE ") or "true"
    state = database.sql["state"]
    return database.sql["tally"].format(state=state, conditions=wanted, walk=walk), [
        *values,
        *first,
    ]


def edge(database: Database, query: TaskQuery, looked: int) -> Condition:
    """The statement that answers the position of the last of the first *looked* records."""
    walk, values = _along(database, query, f" LIMIT 1 OFFSET {looked - 1:d}")
    return f"{database.sql['edge']}{walk}", values


def up_to(database: Database, query: TaskQuery, position: tuple[str, str] | None) -> Condition:
    """WHERE, ORDER BY and LIMIT of *query*, of no record beyond *position*."""
    found = list(_conditions(database, query, _sections(query)))
    if position is not None:
        sign = ">=" if query.order == "newest" else "<="
        mark = database.placeholder
        found.append((f"(t.date_created, t.task_id) {sign} ({mark}, {mark})", [*position]))
    where, values = _where(found)
    limit = "" if query.limit is None else f" LIMIT {query.limit:d}"
    return f"{where}{_order(query)}{limit}", values


def _along(database: Database, query: TaskQuery, page: str) -> Condition:
    """The records of the one section that *query* is about, or all, in its order."""
    found = list(_date_conditions(database.placeholder, query, moved=False))
    sections = sections_of(query)
    if sections and len(sections) == 1:
        found.append(database.in_sections(sorted(sections)))
    where, values = _where(found)
    return f"{where}{_order(query)}{page}", values


def _filled(database: Database, statement: str, query: TaskQuery, **parts: str) -> str:
    direction = "DESC" if query.order == "newest" else "ASC"
    order = _order(query)
    return database.sql[statement].format(
        order=order, direction=direction, limit=query.limit, **parts
    )


def count(database: Database, query: TaskQuery) -> tuple[str, list[Any]]:
    """The WHERE of *query* without its page."""
    return conditions(database, replace(query, after=None))


def conditions(database: Database, query: TaskQuery) -> tuple[str, list[Any]]:
    return _where(list(_conditions(database, query, _sections(query))))


def _sections(query: TaskQuery) -> frozenset[str] | None:
    """The sections that a statement names; None where the index of a group is the better one."""
    return None if query.fingerprint is not None and not query.open else sections_of(query)


def _where(found: list[Condition]) -> Condition:
    if not found:
        return "", []
    sql = " AND ".join(f"({condition})" for condition, _ in found)
    return f" WHERE {sql}", [value for _, values in found for value in values]


def _conditions(
    database: Database, query: TaskQuery, sections: Collection[str] | None
) -> Iterator[Condition]:
    mark = database.placeholder
    if sections is not None:
        yield database.in_sections(sorted(sections))
    yield from _state_conditions(database, query, implied=sections is not None)
    if query.name is not None:
        yield (
            database.name_like(query.name)
            if query.name_is_glob
            else (
                f"t.name = {mark}",
                [query.name],
            )
        )
    if query.task_ids is not None:
        yield database.any_of("t.task_id", sorted(set(map(encoding.key, query.task_ids))))
    if query.root_id is not None:
        # Its index leaves out the many tasks that are their own root.
        root = encoding.key(query.root_id)
        itself = f"t.task_id = {mark} AND t.root_id = {mark}"
        others = f"t.root_id = {mark} AND t.root_id <> t.task_id"
        yield f"({itself}) OR ({others})", [root, root, root]
    for name in _EQUAL:
        if (value := getattr(query, name)) is not None:
            yield f"t.{name} = {mark}", [encoding.key(value)]
    yield from _date_conditions(mark, query)
    yield from _told_conditions(database, query)


def _told_conditions(database: Database, query: TaskQuery) -> Iterator[Condition]:
    """Conditions on texts and arguments, which are read from each record."""
    mark = database.placeholder
    if query.text is not None:
        columns = ("t.name", "t.task_id", "t.exception_type", "t.exception_message")
        yield database.has_text(columns, query.text)
    if query.kwargs is not None:
        yield from database.contains("t.kwargs", as_recorded(query.kwargs))
    for place, value in query.places:
        yield from database.item_is("t.args", (place,), as_recorded(value))
    if query.exception is not None:
        # The last characters are compared as they are: no LIKE, which knows wildcards and cases.
        kind, end = query.exception, f".{query.exception}"
        last = f"substr(t.exception_type, length(t.exception_type) - {len(end) - 1:d}) = {mark}"
        yield f"t.exception_type = {mark} OR {last}", [kind, end]


def _state_conditions(
    database: Database, query: TaskQuery, *, implied: bool
) -> Iterator[Condition]:
    """Conditions on the state, without those that the section has *implied*.

    With both, PostgreSQL would expect too few rows.
    """
    states = query.states
    if states is not None and not (implied and states and OWN_SECTION.issuperset(states)):
        yield database.any_of("t.state", _stored(states))
    barred = frozenset(query.not_state or ())
    if barred and not (
        implied and SUCCESS in barred and OWN_SECTION.issuperset(barred - {SUCCESS})
    ):
        both = barred if {FAILURE, NOT_RUN} <= barred else barred - {FAILURE, NOT_RUN}
        yield database.none_of("t.state", _stored(both))
    no_failure = FAILURE in barred or (states is not None and FAILURE not in states)
    all_ran = NOT_RUN in barred or (states is not None and NOT_RUN not in states)
    if no_failure and not all_ran:
        yield f"t.state <> '{FAILURE}' OR {_NEVER_RAN}", []
    if all_ran and not no_failure:
        yield f"t.state <> '{FAILURE}' OR NOT {_NEVER_RAN}", []
    if query.open is False:
        yield f"(t.bucket IS NULL OR t.bucket <> '{OPEN}') AND t.state IS NOT NULL", []
    if query.unresolved is not None:
        yield database.sql["unresolved" if query.unresolved else "dealt_with"], []


def _date_conditions(mark: str, query: TaskQuery, *, moved: bool = True) -> Iterator[Condition]:
    if query.since is not None:
        yield f"t.date_created >= {mark}", [date_text(query.since)]
    if query.until is not None:
        yield f"t.date_created < {mark}", [date_text(query.until)]
    if query.moved_before is not None:
        when = date_text(query.moved_before)
        # A task moves only after it was created: the first condition bounds the index.
        yield f"t.date_created <= {mark}", [when]
        if moved:
            yield f"t.stale_from <= {mark}", [when]
    if (position := query.position) is not None:
        sign = "<" if query.order == "newest" else ">"
        date, task_id = position
        yield f"(t.date_created, t.task_id) {sign} ({mark}, {mark})", [date_text(date), task_id]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The (path, value) of everything in nested objects that is no object itself."""
    if not isinstance(value, Mapping) or not value:
        yield path, value
        return
    for key, item in value.items():
        yield from leaves(item, (*path, key))


def like(text: str) -> str:
    r"""A LIKE pattern, with `\` as its escape, for what contains *text*."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"

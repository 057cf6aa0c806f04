-- Statements of SQLite. The names are those of postgresql.sql. Parameters are text; see rows.py.

-- Differs from postgresql.sql: no entries in one statement with the row, for SQLite has no INSERT in a
-- WITH; the two run in one transaction instead.
-- name: write
-- Merge one event into its task's row: the latest outcome and stored result, the first message and start.
INSERT INTO fullresult_task AS t ({columns})
{values}
ON CONFLICT (task_id) DO UPDATE SET
    date_created = min(t.date_created, excluded.date_created),
    date_updated = max(t.date_updated, excluded.date_updated),
    date_published = min(
        COALESCE(t.date_published, excluded.date_published),
        COALESCE(excluded.date_published, t.date_published)
    )
    {, latest outcome}
    {, first message}
    {, first start}
    {, latest stored}
RETURNING message_stamp IS NULL;

-- Not in postgresql.sql: SQLite writes every index that names a column which is set, changed or not.
-- name: update
-- Merge an event without a message, as most are, into a record that has its message and knows nothing
-- later. Changes no other record: `write` is for those.
UPDATE fullresult_task SET
    date_updated = max(date_updated, ?)
    {, outcome}
    {, first start}
    {, latest stored}
WHERE
    task_id = ? AND outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT NULL
    {stays};

-- name: update_stays
-- The last condition of `update` for an event that leaves its record open: no index changes.
AND open = 1 AND expire_at IS NULL;

-- name: entries
INSERT INTO fullresult_execution
SELECT
    ?,
    json_extract(e.value, '$.stamp'),
    json_extract(e.value, '$.retries'),
    json_extract(e.value, '$.state'),
    json_extract(e.value, '$.worker'),
    json_extract(e.value, '$.date_started'),
    json_extract(e.value, '$.date_done'),
    json_extract(e.value, '$.exception_type'),
    json_extract(e.value, '$.exception_message'),
    json_extract(e.value, '$.traceback')
FROM json_each(?) AS e
WHERE true
ON CONFLICT DO NOTHING;

-- name: select
-- Records with their entries, in one consistent read; conditions and order are appended.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message, t.traceback,
    t.children, t.expire_at, t.message_stamp, t.name, t.args, t.kwargs, t.embed, t.body,
    t.content_type, t.content_encoding, t.headers, t.properties, t.exchange, t.routing_key, t.queue,
    t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id, t.retry_of, t.notes,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding,
    (
        SELECT json_group_array(json_array(
            e.stamp, e.retries, e.state, e.worker, e.date_started, e.date_done,
            e.exception_type, e.exception_message, e.traceback
        ))
        FROM (SELECT * FROM fullresult_execution WHERE task_id = t.task_id ORDER BY stamp) AS e
    )
FROM fullresult_task AS t;

-- name: get_results
-- Records by their ids, without their entries.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message, t.traceback,
    t.children, t.expire_at, t.message_stamp, t.name, t.args, t.kwargs, t.embed, t.body,
    t.content_type, t.content_encoding, t.headers, t.properties, t.exchange, t.routing_key, t.queue,
    t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id, t.retry_of, t.notes,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?));

-- name: get_results_only
-- The same with only those parts of the messages that are seen with any result.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message,
    t.traceback, t.children, t.expire_at,
    t.message_stamp, t.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, t.queue,
    NULL, NULL, NULL, NULL, t.parent_id, t.group_id, NULL, NULL,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?));

-- name: get_successes
SELECT
    t.task_id, CASE WHEN t.stored_stamp = t.outcome_stamp THEN NULL ELSE t.result END,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?)) AND t.state = 'SUCCESS'
    AND (t.stored_stamp = t.outcome_stamp OR t.result IS NOT NULL);

-- name: ended
-- With either, only those of which nothing more is expected.
NOT t.open AND t.state <> 'SCHEDULED';

-- name: ids
SELECT t.task_id FROM fullresult_task AS t;

-- name: ids_of
SELECT t.task_id FROM ({found}) AS t;

-- Differs from postgresql.sql: a + is enough for an order that no index has.
-- name: few
-- The ids of a page of what few records have in common: all of them are found, then sorted.
SELECT t.task_id FROM fullresult_task AS t{where}
ORDER BY +t.date_created {direction}, +t.task_id {direction}
LIMIT {limit};

-- Differs from postgresql.sql: there is no `seek`, and no LATERAL; near does not repeat its order, for
-- SQLite would sort again before it takes the first.
-- name: seek_names
-- The ids of a page of names that match a glob. Those among the next records in order; if they do
-- not fill the page, all of the names that match, sorted. An index tells the names, one step for each.
WITH RECURSIVE near AS MATERIALIZED (
    SELECT t.task_id
    FROM (SELECT * FROM fullresult_task AS t{walk}) AS t{where}
    LIMIT {limit}
),
known AS (
    SELECT min(name) AS name FROM fullresult_task
    UNION ALL
    SELECT (SELECT min(t.name) FROM fullresult_task AS t WHERE t.name > known.name)
    FROM known
    WHERE known.name IS NOT NULL
)
SELECT near.task_id FROM near
UNION ALL
SELECT far.task_id FROM (
    SELECT t.task_id FROM fullresult_task AS t
    -- Asked first of all, else a whole state may be read to find no name in it.
    WHERE (SELECT count(*) FROM near) < {limit} AND t.name IN (
        SELECT t.name FROM known AS t WHERE (SELECT count(*) FROM near) < {limit} AND {like}
    ){rest}
    ORDER BY +t.date_created {direction}, +t.task_id {direction}
    LIMIT {limit}
) AS far;

-- name: count
SELECT count(*) FROM fullresult_task AS t;

-- name: delete
-- Records; `{found}` selects the ids. Their entries go first, in the same transaction.
DELETE FROM fullresult_task WHERE task_id IN ({found}) RETURNING 1;

-- name: count_found
SELECT count(*) FROM ({found}) AS found;

-- name: sample
SELECT
    t.name, t.state, t.retries, t.date_created, t.date_published, t.eta, t.start_date,
    t.date_started, t.date_done, t.runtime
FROM fullresult_task AS t
WHERE t.date_created >= ? AND t.date_created < ?
ORDER BY t.date_created DESC, t.task_id DESC
LIMIT ?;

-- name: delete_entries
DELETE FROM fullresult_execution WHERE task_id IN ({found});

-- Differs from postgresql.sql: one writer at a time, so there is nothing to lock.
-- name: expired
SELECT t.task_id FROM fullresult_task AS t
WHERE t.expire_at <= ?
ORDER BY t.expire_at
LIMIT ?;

-- name: delete_expired_groups
DELETE FROM fullresult_group
WHERE group_id IN (
    SELECT g.group_id FROM fullresult_group AS g
    WHERE g.expire_at <= ?
    ORDER BY g.expire_at
    LIMIT ?
);

-- name: delete_expired_chords
DELETE FROM fullresult_chord
WHERE chord_id IN (
    SELECT c.chord_id FROM fullresult_chord AS c
    WHERE c.expire_at <= ?
    ORDER BY c.expire_at
    LIMIT ?
)
RETURNING chord_id;

-- name: json_at
-- A condition: what is at a path in the JSON of {column} meets {condition}. The path is given as JSON
-- whose innermost value is there, for no path of SQLite before 3.45 can name a key with a quote in it.
EXISTS (
    SELECT 1
    FROM json_tree({column}) AS e
    WHERE
        e.fullkey = (SELECT fullkey FROM json_tree(?) ORDER BY id DESC LIMIT 1)
        AND {condition}
);

-- name: json_list_is
-- A condition: {found}, of the JSON type {kind}, is a list equal to another; given twice. Equal lists
-- have equal nodes: numbers are compared by value, and keys have no order.
CASE WHEN {kind} = 'array' THEN
    NOT EXISTS (
        SELECT fullkey, replace(type, 'integer', 'real'), atom FROM json_tree({found})
        EXCEPT
        SELECT fullkey, replace(type, 'integer', 'real'), atom FROM json_tree(?)
    )
    AND NOT EXISTS (
        SELECT fullkey, replace(type, 'integer', 'real'), atom FROM json_tree(?)
        EXCEPT
        SELECT fullkey, replace(type, 'integer', 'real'), atom FROM json_tree({found})
    )
ELSE 0 END;

-- Differs from postgresql.sql: a statement of its own, as there is no INSERT in a WITH.
-- name: schedule
INSERT INTO fullresult_schedule (
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (schedule_id) DO NOTHING;

-- name: schedules
SELECT
    s.schedule_id, s.task_id, s.namespace, s.due, s.date_scheduled, s.name, s.queue, s.body,
    s.headers, s.how, s.new_task_id, s.claim, s.date_claimed, s.problem
FROM fullresult_schedule AS s;

-- name: of_task
EXISTS (SELECT 1 FROM fullresult_task AS t{where} AND t.task_id = s.task_id);

-- name: one_of_many
{column} IN (SELECT value FROM json_each(?));

-- name: count_schedules
SELECT count(*) FROM fullresult_schedule AS s;

-- Differs from postgresql.sql: one writer at a time, so nobody sees what is half claimed.
-- name: claim_due
UPDATE fullresult_schedule
SET claim = ?, date_claimed = ?
WHERE schedule_id IN (
    SELECT w.schedule_id
    FROM fullresult_schedule AS w
    WHERE w.namespace = ? AND w.due <= ? AND w.claim IS NULL AND w.date_withdrawn IS NULL
    ORDER BY w.due, w.schedule_id
    LIMIT ?
)
RETURNING
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id, claim, date_claimed, problem;

-- name: take_over
UPDATE fullresult_schedule
SET claim = ?, date_claimed = ?, problem = NULL
WHERE schedule_id = ? AND claim IS ? AND date_withdrawn IS NULL
RETURNING
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id, claim, date_claimed, problem;

-- name: close
DELETE FROM fullresult_schedule
WHERE claim = ? AND schedule_id IN (SELECT value FROM json_each(?))
RETURNING schedule_id;

-- name: mark_problem
UPDATE fullresult_schedule SET problem = ? WHERE claim = ? AND schedule_id = ? RETURNING 1;

-- name: release
UPDATE fullresult_schedule
SET claim = NULL, date_claimed = NULL, problem = NULL
WHERE schedule_id IN (SELECT value FROM json_each(?)) AND claim = COALESCE(?, claim)
RETURNING schedule_id;

-- name: cancel
DELETE FROM fullresult_schedule
WHERE schedule_id = ? AND claim IS NULL AND date_withdrawn IS NULL
RETURNING 1;

-- name: reschedule
UPDATE fullresult_schedule SET due = ?
WHERE schedule_id = ? AND claim IS NULL AND date_withdrawn IS NULL
RETURNING 1;

-- name: withdraw
-- The mark stays where the schedule was or would be, in the way of one that is still to come.
INSERT INTO fullresult_schedule AS s (
    schedule_id, task_id, namespace, due, date_scheduled, body, headers, how, date_withdrawn
)
VALUES (?, '', '', '', '', '', '', '', datetime('now'))
ON CONFLICT (schedule_id) DO UPDATE
SET body = '', headers = '', how = '', date_withdrawn = excluded.date_withdrawn
WHERE s.claim IS NULL
RETURNING 1;

-- name: forget_withdrawn
-- By now, what was withdrawn cannot be on its way any more.
DELETE FROM fullresult_schedule
WHERE date_withdrawn < datetime('now', '-7 days')
RETURNING 1;

-- name: next_due
SELECT s.due FROM fullresult_schedule AS s
WHERE s.namespace = ? AND s.claim IS NULL AND s.date_withdrawn IS NULL
ORDER BY s.due, s.schedule_id
LIMIT 1;

-- name: note_sweep
INSERT INTO fullresult_sweep AS s (namespace, at) VALUES (?, ?)
ON CONFLICT (namespace) DO UPDATE SET at = max(s.at, excluded.at);

-- name: last_sweep
SELECT at FROM fullresult_sweep WHERE namespace = ?;

-- name: note_worker
-- Differs from postgresql.sql: of a date and null, min makes null.
INSERT INTO fullresult_worker AS w
    (worker_id, name, date_started, date_seen, alive_until, date_stopped)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET
    date_started = min(w.date_started, excluded.date_started),
    date_seen = max(w.date_seen, excluded.date_seen),
    alive_until = max(w.alive_until, excluded.alive_until),
    date_stopped = coalesce(
        min(w.date_stopped, excluded.date_stopped), w.date_stopped, excluded.date_stopped
    );

-- name: find_workers
SELECT worker_id, name, date_started, date_seen, alive_until, date_stopped FROM fullresult_worker;

-- name: forget_workers
DELETE FROM fullresult_worker WHERE date_seen <= ?;

-- name: save_group
INSERT INTO fullresult_group (group_id, value, expire_at) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE SET value = excluded.value, expire_at = excluded.expire_at
RETURNING 1;

-- name: restore_group
SELECT value FROM fullresult_group WHERE group_id = ?;

-- name: delete_group
DELETE FROM fullresult_group WHERE group_id = ? RETURNING 1;

-- Not in postgresql.sql, where it is a part of `join_chord`.
-- name: add_member
INSERT INTO fullresult_chord_member (chord_id, member) VALUES (?, ?)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: join_chord
-- One more member of the chord, after `add_member` in one transaction.
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, expire_at) VALUES (?, 1, ?, ?)
ON CONFLICT (chord_id) DO UPDATE SET
    joined = c.joined + 1,
    last_call = CASE WHEN c.joined < ? THEN excluded.last_call ELSE c.last_call END,
    expire_at = max(c.expire_at, excluded.expire_at)
RETURNING joined = ?;

-- name: completed_by
-- Whether a call completed a chord: for one that is told again.
SELECT c.last_call = ? AND c.joined >= ? FROM fullresult_chord AS c WHERE c.chord_id = ?;

-- name: forget_chord
DELETE FROM fullresult_chord WHERE chord_id = ? RETURNING chord_id;

-- name: forget_members
DELETE FROM fullresult_chord_member WHERE chord_id IN (SELECT value FROM json_each(?));

-- name: keep_audit
-- Differs from postgresql.sql: a trigger writes what is kept of each task.
INSERT INTO fullresult_audit (entry_id, at, actor, action, task_ids, details, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entry_id) DO NOTHING;

-- name: audit
-- Conditions and order are appended.
SELECT a.entry_id, a.at, a.actor, a.action, a.task_ids, a.details, a.outcome
FROM fullresult_audit AS a;

-- name: audit_of_task
a.entry_id IN (SELECT d.entry_id FROM fullresult_audit_task AS d WHERE d.task_id = ?);

-- name: now
SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00';

-- name: create_schema
CREATE TABLE IF NOT EXISTS fullresult_schema (
    version integer PRIMARY KEY,
    applied text NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- Statements of SQLite. The names are those of postgresql.sql. Parameters are text; see rows.py.
-- Long because all statements of one database stand together: the two files are read side by side.

-- name: write
-- Merge one event into its task's row: the latest outcome and stored result, the first message and
-- start. A success that is not the latest outcome becomes an entry, by a trigger.
-- Differs from postgresql.sql: the entries of an event are inserted by a statement of their own, in
-- one transaction, for SQLite has no INSERT in a WITH.
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
    {, resent}
    {, again}
    {, latest own},
    lost_end = CASE WHEN
        excluded.state = 'SUCCESS' AND excluded.outcome_stamp < t.outcome_stamp
        AND (excluded.date_started IS NOT NULL OR excluded.worker IS NOT NULL)
    THEN json_array(
        excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
        excluded.date_done
    ) END
RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: update
-- Merge an event without a message, as most are, into a record that has its message and knows
-- nothing later. Changes no other record: `write` is for those.
-- Not in postgresql.sql: SQLite writes every index that names a column which is set, changed or
-- not.
UPDATE fullresult_task SET
    date_updated = max(date_updated, ?)
    {, outcome}
    {, first start}
    {, latest stored}
WHERE
    task_id = ? AND outcome_stamp < ? AND date_created <= ? AND message_stamp IS NOT NULL
    AND resent IS NULL AND again_stamp IS NULL
    {stays};

-- name: update_stays
-- The last condition of `update` for an event that leaves its record open: it changes no index.
-- Not in postgresql.sql, as `update`.
AND open = 1 AND expire_at IS NULL;

-- name: again
-- A part of `write`: the least stamp of the publishes after the first. What a worker tells is none.
-- Differs from postgresql.sql: min() of a NULL is NULL here.
again_stamp = NULLIF(min(
        COALESCE(t.again_stamp, '~'), COALESCE(excluded.again_stamp, '~'),
        CASE WHEN t.message_stamp <> excluded.message_stamp
            AND max(t.message_stamp, excluded.message_stamp) < '00000000021'
        THEN max(t.message_stamp, excluded.message_stamp) ELSE '~' END
    ), '~');

-- name: entries
-- Insert an event's entries; those that are there already stay as they are.
-- Differs from postgresql.sql: a statement of its own.
INSERT INTO fullresult_execution (
    task_id, stamp, retries, state, worker, date_started, date_done,
    exception_type, exception_message, traceback
)
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

-- name: prune_entries
-- Delete the entries of a task but for its newest 1,000.
DELETE FROM fullresult_execution
WHERE task_id = ? AND stamp < (
    SELECT stamp FROM fullresult_execution WHERE task_id = ?
    ORDER BY stamp DESC LIMIT 1 OFFSET 999
)
RETURNING 1;

-- name: select
-- Records with their newest 1,000 entries, in one consistent read; conditions and order are appended.
-- Differs from postgresql.sql: an entry's dates stay text, and its order is that of the rows it is
-- made of.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message, t.traceback,
    t.children, t.expire_at, t.fingerprint, t.message_stamp, t.name, t.args, t.kwargs, t.embed, t.body,
    t.content_type, t.content_encoding, t.headers, t.properties, t.exchange, t.routing_key, t.queue,
    t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id, t.retry_of, t.notes,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message,
    (
        SELECT json_group_array(json_array(
            e.stamp, e.retries, e.state, e.worker, e.date_started, e.date_done,
            e.exception_type, e.exception_message, e.traceback
        ))
        FROM (
            SELECT * FROM (
                SELECT * FROM fullresult_execution
                WHERE task_id = t.task_id ORDER BY stamp DESC LIMIT 1000
            ) ORDER BY stamp
        ) AS e
    )
FROM fullresult_task AS t;

-- name: get_results
-- Records by their ids, without their entries: all that a result needs.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message, t.traceback,
    t.children, t.expire_at, t.fingerprint, t.message_stamp, t.name, t.args, t.kwargs, t.embed, t.body,
    t.content_type, t.content_encoding, t.headers, t.properties, t.exchange, t.routing_key, t.queue,
    t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id, t.retry_of, t.notes,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?));

-- name: get_results_only
-- The same with only those parts of the message that Celery shows with any result.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result, t.result_text, t.result_form, t.exception_type, t.exception_message,
    t.traceback, t.children, t.expire_at, t.fingerprint,
    t.message_stamp, t.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, t.queue,
    NULL, NULL, NULL, NULL, t.parent_id, t.group_id, NULL, NULL,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?));

-- name: get_successes
-- The results of a chord's members that succeeded, as a backend stored them or else as recorded.
SELECT
    t.task_id, CASE WHEN t.stored_stamp = t.outcome_stamp THEN NULL ELSE t.result END,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding
FROM fullresult_task AS t
WHERE t.task_id IN (SELECT value FROM json_each(?)) AND t.state = 'SUCCESS'
    AND (t.stored_stamp = t.outcome_stamp OR t.result_form = 'json');

-- name: only_ended
-- Appended to `get_results` and `get_results_only`: only tasks that have ended.
NOT t.open AND t.state <> 'SCHEDULED';

-- name: ids
-- Ids of records; conditions and a page are appended.
SELECT t.task_id FROM fullresult_task AS t;

-- name: ids_beginning
-- The first ids between two texts.
SELECT t.task_id FROM fullresult_task AS t
WHERE t.task_id >= ? AND t.task_id < ?
ORDER BY t.task_id
LIMIT ?;

-- name: ids_in
-- The ids that another statement finds, as a part of a UNION, where SQLite allows no LIMIT.
SELECT t.task_id FROM ({found}) AS t;

-- name: page_of_rare
-- The ids of a page for a filter that few records match. Finds all matches, then sorts them.
-- Differs from postgresql.sql: a + keeps an index from giving the order.
SELECT t.task_id FROM fullresult_task AS t{where}
ORDER BY +t.date_created {direction}, +t.task_id {direction}
LIMIT {limit};

-- name: page_by_walk_then_names
-- The ids of a page for a glob. Walks through the next records in order (`walked`); if their
-- matches do not fill the page, finds all records of the names that match and sorts them (`found`).
-- An index tells the names, one step for each; if there are very many, or very many match, all
-- records are looked through instead (`sought`).
-- Differs from postgresql.sql: there is no LATERAL; and `walked` does not repeat its order, for
-- SQLite would sort again before it takes the first.
WITH RECURSIVE walked AS MATERIALIZED (
    SELECT t.task_id
    FROM (SELECT * FROM fullresult_task AS t{walk}) AS t{where}
    LIMIT {limit}
),
known AS (
    SELECT min(t.name) AS name FROM fullresult_task AS t WHERE {between}
    UNION ALL
    SELECT (SELECT min(t.name) FROM fullresult_task AS t WHERE t.name > known.name AND {between})
    FROM known
    WHERE known.name IS NOT NULL AND (SELECT count(*) FROM walked) < {limit}
    LIMIT {most}
),
names AS MATERIALIZED (
    SELECT known.name FROM known
    WHERE known.name IS NOT NULL AND (SELECT count(*) FROM walked) < {limit}
),
matching AS MATERIALIZED (
    SELECT t.name FROM names AS t WHERE (SELECT count(*) FROM names) < {most} AND {like}
    LIMIT {few}
)
SELECT walked.task_id FROM walked
UNION ALL
SELECT found.task_id FROM (
    SELECT t.task_id FROM fullresult_task AS t
    -- Asked first of all, else a whole state may be read to find no name in it.
    WHERE (SELECT count(*) FROM walked) < {limit} AND t.name IN (
        SELECT matching.name FROM matching WHERE (SELECT count(*) FROM matching) < {few}
    ){rest}
    ORDER BY +t.date_created {direction}, +t.task_id {direction}
    LIMIT {limit}
) AS found
UNION ALL
SELECT sought.task_id FROM (
    -- CROSS JOIN keeps this order: the first is asked before any record is read.
    SELECT t.task_id FROM (
        SELECT 1 WHERE (SELECT count(*) FROM names) = {most}
            OR (SELECT count(*) FROM matching) = {few}
    ) CROSS JOIN fullresult_task AS t{where} AND {between}
    ORDER BY +t.date_created {direction}, +t.task_id {direction}
    LIMIT {limit}
) AS sought;

-- name: count
-- The number of records that meet the conditions, which are appended.
SELECT count(*) FROM fullresult_task AS t;

-- name: delete
-- Delete the records whose ids `{found}` selects, after `delete_entries` in one transaction.
-- Differs from postgresql.sql: one writer at a time, so there is nothing to lock first.
DELETE FROM fullresult_task WHERE task_id IN ({found}) RETURNING 1;

-- name: count_found
-- The number of rows that another statement finds: it may have a LIMIT.
SELECT count(*) FROM ({found}) AS found;

-- name: state
-- The state of a record. What never ran is a FAILURE to workers and pages of older versions, which
-- know no other word for it: the least stamp that there is tells it apart.
CASE WHEN t.state = 'FAILURE' AND substr(t.outcome_stamp, 10, 2) = '-0' THEN 'NOT_RUN' ELSE t.state END;

-- name: tally
-- The first records along an index by their state: how many meet the conditions, and how many are
-- there.
SELECT {state}, count(*) FILTER (WHERE {conditions}), count(*)
FROM (SELECT * FROM fullresult_task AS t{walk}) AS t
GROUP BY 1;

-- name: edge
-- The position of a record along an index, which is appended.
SELECT t.date_created, t.task_id FROM fullresult_task AS t;

-- name: shapes
-- How the messages of a page of records call their tasks, told apart and counted. `{page}` selects
-- the page, oldest first; its last record is in each row. Not counted, and each in a row of its own
-- with its id first, is what is told only by looking at it. Every signature has the word
-- `subtask_type` in its body, whatever serialised it.
-- Differs from postgresql.sql: substr and instr, and the functions of JSON.
WITH page AS MATERIALIZED (
    SELECT
        t.task_id, t.date_created, t.name, t.queue, t.content_type, t.properties, t.args, t.kwargs,
        t.eta, t.notes,
        (
            t.embed IS NOT NULL OR coalesce(substr(t.name, 1, 7) = 'celery.', 0)
            OR coalesce(instr(t.body, CAST('subtask_type' AS BLOB)) > 0, 0)
            OR ((t.args IS NULL OR t.kwargs IS NULL) AND t.body IS NOT NULL)
        ) AS apart
    FROM fullresult_task AS t{page}
),
told AS (
    SELECT
        p.task_id, p.date_created, p.eta,
        CASE WHEN p.apart THEN p.task_id END AS apart,
        CASE WHEN NOT p.apart THEN p.name END AS name,
        CASE WHEN NOT p.apart THEN p.queue END AS queue,
        CASE WHEN NOT p.apart THEN p.content_type END AS content_type,
        CASE WHEN NOT p.apart AND instr(p.properties, '"compression"')
            THEN json_extract(p.properties, '$.compression') END AS compression,
        CASE WHEN NOT p.apart AND json_type(p.args) = 'array' THEN json_array_length(p.args) END
            AS positional,
        CASE WHEN NOT p.apart AND json_type(p.kwargs) = 'object' THEN (
            SELECT json_group_array(k.key) FROM (
                SELECT j.key FROM json_each(p.kwargs) AS j ORDER BY j.key
            ) AS k
        ) END AS keywords,
        CASE WHEN NOT p.apart AND instr(p.notes, 'by message protocol 1') > 0 THEN 1 ELSE 2 END
            AS protocol
    FROM page AS p
)
SELECT
    told.apart, told.name, told.queue, told.content_type, told.compression, told.positional,
    told.keywords, told.protocol, count(*), min(told.task_id), max(told.date_created), min(told.eta),
    (SELECT p.date_created FROM page AS p ORDER BY p.date_created DESC, p.task_id DESC LIMIT 1),
    (SELECT p.task_id FROM page AS p ORDER BY p.date_created DESC, p.task_id DESC LIMIT 1)
FROM told
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

-- name: has_index
-- A row if there is an index of this name.
-- Not in postgresql.sql, where one index has all arguments.
SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?;

-- name: count_alike
-- Count the newest records created in a span of time, by what statistics tell apart.
SELECT t.name, t.state, t.published, t.started, t.retried, count(*)
FROM (
    SELECT
        t.name,
        CASE WHEN t.state = 'FAILURE' AND substr(t.outcome_stamp, 10, 2) = '-0' THEN 'NOT_RUN' ELSE t.state END AS state,
        t.date_published IS NOT NULL AS published,
        t.start_date IS NOT NULL AS started, coalesce(t.retries, 0) > 0 AS retried
    FROM fullresult_task AS t
    WHERE t.date_created >= ? AND t.date_created < ?
    ORDER BY t.date_created DESC, t.task_id DESC
    LIMIT ?
) AS t
GROUP BY t.name, t.state, t.published, t.started, t.retried;

-- name: sample
-- The fields that statistics are made of, of the newest records created in a span of time.
SELECT
    t.name,
    CASE WHEN t.state = 'FAILURE' AND substr(t.outcome_stamp, 10, 2) = '-0' THEN 'NOT_RUN' ELSE t.state END,
    t.retries, t.date_created, t.date_published, t.eta, t.start_date,
    t.date_started, t.date_done, t.runtime, t.queue
FROM fullresult_task AS t
WHERE t.date_created >= ? AND t.date_created < ?
ORDER BY t.date_created DESC, t.task_id DESC
LIMIT ?;

-- name: delete_entries
-- Delete the entries of the records whose ids `{found}` selects.
-- Not in postgresql.sql, where it is a part of `delete`.
DELETE FROM fullresult_execution WHERE task_id IN ({found});

-- name: expired
-- The ids of the records that expire first.
-- Not in postgresql.sql, which has `lock_expired`: one writer at a time, so there is nothing to
-- lock.
SELECT t.task_id FROM fullresult_task AS t
WHERE t.expire_at <= ?
ORDER BY t.expire_at
LIMIT ?;

-- name: delete_expired_groups
-- Delete the saved groups that expire first.
-- Differs from postgresql.sql: one writer at a time, so nothing is locked that could be skipped.
DELETE FROM fullresult_group
WHERE group_id IN (
    SELECT g.group_id FROM fullresult_group AS g
    WHERE g.expire_at <= ?
    ORDER BY g.expire_at
    LIMIT ?
)
RETURNING 1;

-- name: expired_chords
-- Answer the ids of the chords that expire first.
-- Differs from postgresql.sql: one writer at a time, so there is nothing to lock.
SELECT c.chord_id FROM fullresult_chord AS c
WHERE c.expire_at <= ?
ORDER BY c.expire_at
LIMIT ?;

-- name: forget_some_members
-- Delete members of chords that have expired, up to a limit: one chord may have a million.
-- Differs from postgresql.sql: the table has no row ids.
DELETE FROM fullresult_chord_member
WHERE (chord_id, member) IN (
    SELECT m.chord_id, m.member FROM fullresult_chord_member AS m
    WHERE m.chord_id IN (SELECT value FROM json_each(?)) LIMIT ?
)
RETURNING 1;

-- name: empty_chords
-- Of chords of which some members are deleted, count none: who adds a member now begins at one.
UPDATE fullresult_chord
SET joined = 0, added = 0, size = NULL, last_call = '', completed = NULL, look_at = NULL
WHERE chord_id IN (SELECT value FROM json_each(?))
RETURNING 1;

-- name: forget_chords
-- Delete the counts of chords that have expired, after their members.
DELETE FROM fullresult_chord WHERE chord_id IN (SELECT value FROM json_each(?)) RETURNING 1;

-- name: json_at
-- A condition: the value at a path in the JSON of {column} meets {condition}. The path is given as
-- JSON whose innermost value is there, for no path of SQLite before 3.45 can name a key with a
-- quote in it.
-- Not in postgresql.sql, which has operators for JSON.
EXISTS (
    SELECT 1
    FROM json_tree({column}) AS e
    WHERE
        e.fullkey = (SELECT fullkey FROM json_tree(?) ORDER BY id DESC LIMIT 1)
        AND {condition}
);

-- name: json_list_is
-- A condition: {found}, of the JSON type {kind}, is a list equal to another, which is given twice.
-- Equal lists have equal nodes: numbers are compared by value, and keys have no order.
-- Not in postgresql.sql, as `json_at`.
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

-- name: schedule
-- Insert a schedule, unless it or its withdrawal is there already.
-- Differs from postgresql.sql: a statement of its own, as there is no INSERT in a WITH.
INSERT INTO fullresult_schedule (
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (schedule_id) DO NOTHING;

-- name: schedules
-- Schedules; conditions, order and limit are appended.
SELECT
    s.schedule_id, s.task_id, s.namespace, s.due, s.date_scheduled, s.name, s.queue, s.body,
    s.headers, s.how, s.new_task_id, s.claim, s.date_claimed, s.problem, s.at_least_once
FROM fullresult_schedule AS s;

-- name: outbox_schedule
-- A task that is to commit with the caller's data, by a connection of the caller's. The file may be
-- attached there under any name.
-- Not in postgresql.sql: there, `outbox` is one statement for all.
INSERT INTO {schema}.fullresult_schedule (
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    at_least_once
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: outbox_event
-- The first event of its record.
-- Not in postgresql.sql: there, `outbox` is one statement for all.
INSERT INTO {schema}.fullresult_task ({columns}) {values} ON CONFLICT DO NOTHING;

-- name: attached
-- The files that a connection has, each with its name.
-- Not in postgresql.sql: there are no files.
PRAGMA database_list;

-- name: identity
-- What tells this database from others.
-- Differs from postgresql.sql: a copy of the file is told by its place.
SELECT max(identity) FROM {schema}.fullresult_schema;

-- name: of_tasks
-- A condition on schedules: the record of its task meets {where}.
EXISTS (SELECT 1 FROM fullresult_task AS t{where} AND t.task_id = s.task_id);

-- name: any_of_many
-- A condition: {column} is one of any number of ids, given as one parameter.
{column} IN (SELECT value FROM json_each(?));

-- name: count_schedules
-- The number of schedules that meet the conditions, which are appended.
SELECT count(*) FROM fullresult_schedule AS s;

-- name: claim_due
-- Claim the schedules of a namespace that are due first.
-- Differs from postgresql.sql: one writer at a time, so no other sees half a claim; and there
-- are no dead rows to pass.
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
    new_task_id, claim, date_claimed, problem, at_least_once;

-- name: take_over
-- Claim one schedule for a person, if its claim is still the one that was seen.
UPDATE fullresult_schedule
SET claim = ?, date_claimed = ?, problem = NULL
WHERE schedule_id = ? AND claim IS ? AND date_withdrawn IS NULL
RETURNING
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id, claim, date_claimed, problem, at_least_once;

-- name: close
-- Delete the schedules of a claim that were sent.
-- Differs from postgresql.sql: the index of claims does no harm.
DELETE FROM fullresult_schedule
WHERE claim = ? AND schedule_id IN (SELECT value FROM json_each(?))
RETURNING schedule_id;

-- name: mark_problem
-- Note why a claimed schedule was not sent.
UPDATE fullresult_schedule SET problem = ? WHERE claim = ? AND schedule_id = ? RETURNING 1;

-- name: release
-- Let claimed schedules wait again: those of one claim, or of any if it is null.
UPDATE fullresult_schedule
SET claim = NULL, date_claimed = NULL, problem = NULL
WHERE schedule_id IN (SELECT value FROM json_each(?)) AND claim = COALESCE(?, claim)
RETURNING schedule_id;

-- name: cancel
-- Delete a schedule that waits.
DELETE FROM fullresult_schedule
WHERE schedule_id = ? AND claim IS NULL AND date_withdrawn IS NULL
RETURNING 1;

-- name: reschedule
-- Change when a schedule that waits is due; with a third parameter, only if it is due then.
UPDATE fullresult_schedule SET due = ?
WHERE schedule_id = ? AND claim IS NULL AND date_withdrawn IS NULL AND due = COALESCE(?, due)
RETURNING 1;

-- name: withdraw
-- Leave a mark instead of a schedule that waits, or in the way of one that is still to come.
-- Differs from postgresql.sql: dates are text.
INSERT INTO fullresult_schedule AS s (
    schedule_id, task_id, namespace, due, date_scheduled, body, headers, how, date_withdrawn
)
VALUES (?, '', '', '', '', '', '', '', datetime('now'))
ON CONFLICT (schedule_id) DO UPDATE
SET body = '', headers = '', how = '', date_withdrawn = excluded.date_withdrawn
WHERE s.claim IS NULL
RETURNING 1;

-- name: forget_withdrawn
-- Delete marks that are seven days old: no schedule is on its way as long.
-- Differs from postgresql.sql: all at once, as there are no row locks to wait for.
DELETE FROM fullresult_schedule
WHERE date_withdrawn < datetime('now', '-7 days')
RETURNING 1;

-- name: next_due
-- When the first waiting schedule of a namespace is due.
-- Differs from postgresql.sql: there are no dead rows to pass.
SELECT s.due FROM fullresult_schedule AS s
WHERE s.namespace = ? AND s.claim IS NULL AND s.date_withdrawn IS NULL
ORDER BY s.due, s.schedule_id
LIMIT 1;

-- name: note_sweep
-- Note that a sweeper of a namespace was at work; the latest time stays.
-- Differs from postgresql.sql: the commit's wait for the disk is set before.
INSERT INTO fullresult_sweep AS s (namespace, at) VALUES (?, ?)
ON CONFLICT (namespace) DO UPDATE SET at = max(s.at, excluded.at);

-- name: last_sweep
-- When a sweeper of a namespace was last at work.
SELECT at FROM fullresult_sweep WHERE namespace = ?;

-- name: note_worker
-- Note a worker's heartbeat, merged with earlier and later ones.
-- Differs from postgresql.sql: min makes null of a date and null.
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
-- All workers of which something is known.
SELECT worker_id, name, date_started, date_seen, alive_until, date_stopped FROM fullresult_worker;

-- name: forget_workers
-- Delete workers that were last seen at a time or before.
DELETE FROM fullresult_worker WHERE date_seen <= ? RETURNING 1;

-- name: note_card
-- Keep a worker's card in place of an older one.
-- Differs from postgresql.sql: the commit's wait for the disk is set before.
INSERT INTO fullresult_worker_card AS c (worker_id, date_written, names_id, card)
VALUES (?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET
    date_written = excluded.date_written, names_id = excluded.names_id, card = excluded.card
    WHERE c.date_written < excluded.date_written;

-- name: note_names
-- Keep the names of the tasks that a worker knows, and note that they are known now.
-- Differs from postgresql.sql: the commit's wait for the disk is set before.
INSERT INTO fullresult_worker_names AS n (names_id, date_noted, names)
VALUES (?, ?, ?)
ON CONFLICT (names_id) DO UPDATE SET date_noted = max(n.date_noted, excluded.date_noted);

-- name: find_cards
-- The cards of some workers.
SELECT worker_id, date_written, names_id, card FROM fullresult_worker_card
WHERE worker_id IN (SELECT value FROM json_each(?));

-- name: find_all_cards
-- The cards of all workers.
SELECT worker_id, date_written, names_id, card FROM fullresult_worker_card;

-- name: find_names
-- The names of the tasks that workers know, for some lists of them.
SELECT names_id, names FROM fullresult_worker_names
WHERE names_id IN (SELECT value FROM json_each(?));

-- name: forget_gone
-- Delete the workers that are gone, but for the last seen.
-- Differs from postgresql.sql: one writer at a time, so nothing is locked that could be skipped.
DELETE FROM fullresult_worker WHERE worker_id IN (
    SELECT worker_id FROM fullresult_worker
    WHERE date_stopped IS NOT NULL OR alive_until < ?
    ORDER BY date_seen DESC, worker_id LIMIT -1 OFFSET ?
) RETURNING 1;

-- name: forget_cards
-- Delete the cards of workers that are not kept.
-- Differs from postgresql.sql: one writer at a time, so nothing is locked that could be skipped.
DELETE FROM fullresult_worker_card
WHERE worker_id NOT IN (SELECT worker_id FROM fullresult_worker) RETURNING 1;

-- name: forget_names
-- Delete the names that no card has and no worker noted since a time.
-- Differs from postgresql.sql: one writer at a time, so nothing is locked that could be skipped.
DELETE FROM fullresult_worker_names
WHERE date_noted <= ? AND names_id NOT IN (SELECT names_id FROM fullresult_worker_card)
RETURNING 1;

-- name: save_group
-- Keep a group's value for a result backend, in place of an older one.
INSERT INTO fullresult_group (group_id, value, expire_at) VALUES (?, ?, ?)
ON CONFLICT (group_id) DO UPDATE SET value = excluded.value, expire_at = excluded.expire_at
RETURNING 1;

-- name: restore_group
-- A saved group's value.
SELECT value FROM fullresult_group WHERE group_id = ?;

-- name: restore_groups
-- The values of many saved groups.
SELECT group_id, value FROM fullresult_group WHERE group_id IN (SELECT value FROM json_each(?));

-- name: delete_group
-- Delete a saved group.
DELETE FROM fullresult_group WHERE group_id = ? RETURNING 1;

-- name: delete_groups
-- Delete many saved groups.
DELETE FROM fullresult_group WHERE group_id IN (SELECT value FROM json_each(?)) RETURNING 1;

-- name: add_member
-- Add a member to a chord: no row if it was known.
-- Not in postgresql.sql, where it is a part of `joining`.
INSERT INTO fullresult_chord_member (chord_id, member) VALUES (?, ?)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: join_chord
-- Count one more member of a chord, after `add_member` in one transaction: true if it completes it.
-- Differs from postgresql.sql: `add_member` is a statement of its own.
INSERT INTO fullresult_chord AS c (chord_id, joined, size, last_call, completed, expire_at)
SELECT
    :chord_id, 1, :size, :call,
    CASE WHEN :size = 1 THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00' END, :expires
WHERE true
ON CONFLICT (chord_id) DO UPDATE SET
    joined = c.joined + 1,
    size = coalesce(c.size, excluded.size),
    last_call = CASE WHEN c.joined >= coalesce(c.size, excluded.size) + c.added THEN c.last_call
        ELSE excluded.last_call END,
    completed = CASE WHEN c.joined + 1 = coalesce(c.size, excluded.size) + c.added
        THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00' ELSE c.completed END,
    expire_at = max(c.expire_at, excluded.expire_at)
RETURNING coalesce(joined = size + added, false);

-- name: completed_by
-- True if a call completed a chord: asked for a member that joins again.
SELECT c.last_call = ? AND coalesce(c.joined >= c.size + c.added, false)
FROM fullresult_chord AS c
WHERE c.chord_id = ?;

-- name: begin_chord
-- Begin a run of a chord, after `keep_body` in one transaction: the next one if it is complete, else
-- the one that it is in; returns its number.
-- Differs from postgresql.sql: `keep_body` is a statement of its own, and dates are text.
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, size, expire_at, look_at)
VALUES (?, 0, '', ?, ?, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00')
ON CONFLICT (chord_id) DO UPDATE SET
    run = CASE WHEN c.joined >= c.size + c.added THEN c.run + 1 ELSE c.run END,
    joined = CASE WHEN c.joined >= c.size + c.added THEN 0 ELSE c.joined END,
    last_call = CASE WHEN c.joined >= c.size + c.added THEN '' ELSE c.last_call END,
    added = CASE WHEN c.joined >= c.size + c.added THEN 0 ELSE c.added END,
    size = CASE WHEN c.joined >= c.size + c.added THEN excluded.size
        ELSE coalesce(excluded.size, c.size) END,
    completed = CASE WHEN c.joined >= c.size + c.added THEN NULL
        WHEN c.joined >= excluded.size + c.added
            THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00' END,
    expire_at = max(c.expire_at, excluded.expire_at),
    look_at = excluded.look_at,
    looked = 0,
    pause = 0
RETURNING run;

-- name: keep_body
-- Keep the body of a chord that begins.
-- Not in postgresql.sql, where it is a part of `begin_chord`.
INSERT INTO fullresult_chord_body (chord_id, body) VALUES (?, ?)
ON CONFLICT (chord_id) DO UPDATE SET body = excluded.body;

-- name: set_chord_size
-- Note how many members a chord has, unless it is complete. It is now if that many were counted.
-- Differs from postgresql.sql: dates are text.
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, size, expire_at)
VALUES (?, 0, '', ?, ?)
ON CONFLICT (chord_id) DO UPDATE SET
    size = CASE WHEN c.joined >= c.size + c.added THEN c.size
        ELSE max(coalesce(c.size, 0), excluded.size) END,
    completed = CASE WHEN coalesce(c.joined < c.size + c.added, true)
        AND c.joined >= max(coalesce(c.size, 0), excluded.size) + c.added
        THEN strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00' ELSE c.completed END
RETURNING 1;

-- name: add_to_chord
-- Wait for one more member of a chord, unless that is complete; after `add_member` in one
-- transaction.
-- Differs from postgresql.sql: `add_member` is a statement of its own.
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, added, expire_at)
VALUES (?, 0, '', 1, ?)
ON CONFLICT (chord_id) DO UPDATE SET
    added = CASE WHEN c.joined >= c.size + c.added THEN c.added ELSE c.added + 1 END;

-- name: get_members
-- The names of the members of a chord that are known, and of those added.
SELECT member FROM fullresult_chord_member WHERE chord_id = ?;

-- name: close_chord
-- Note that the body of a chord is sent, if the call that sent it is still the last.
UPDATE fullresult_chord SET completed = NULL, look_at = NULL
WHERE chord_id = ? AND last_call = ?
RETURNING 1;

-- name: take_complete_chords
-- Take over chords that are complete for some time and whose bodies are not known to be sent.
-- Differs from postgresql.sql: one writer at a time, so there is nothing to lock.
UPDATE fullresult_chord
SET completed = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00', last_call = ?
WHERE chord_id IN (
    SELECT d.chord_id FROM fullresult_chord AS d
    WHERE d.completed <= ?
    ORDER BY d.completed
    LIMIT ?
)
RETURNING
    chord_id, run,
    coalesce(
        (SELECT b.body FROM fullresult_chord_body AS b WHERE b.chord_id = fullresult_chord.chord_id),
        ''
    );

-- name: take_quiet_chords
-- Look at chords that are not known to be complete, and have it done again later; for each: did it
-- have no new member, and is it not complete?
-- Differs from postgresql.sql: one writer at a time, so there is nothing to lock.
UPDATE fullresult_chord
SET
    looked = joined,
    pause = CASE WHEN joined = looked THEN min(max(10, pause * 3 / 2), 3600) ELSE 0 END,
    look_at = CASE WHEN coalesce(joined < size + added, true)
        THEN strftime(
            '%Y-%m-%dT%H:%M:%f', 'now',
            CASE WHEN joined = looked THEN min(max(10, pause * 3 / 2), 3600) ELSE 0 END || ' seconds'
        ) || '+00:00' END
WHERE chord_id IN (
    SELECT d.chord_id FROM fullresult_chord AS d
    WHERE d.look_at <= ?
    ORDER BY d.look_at
    LIMIT ?
)
RETURNING
    look_at IS NOT NULL AND pause > 0, chord_id, run,
    coalesce(
        (SELECT b.body FROM fullresult_chord_body AS b WHERE b.chord_id = fullresult_chord.chord_id),
        ''
    );

-- name: find_ended_members
-- The tasks of a group that succeeded or failed.
SELECT t.task_id FROM fullresult_task AS t
WHERE t.group_id = ? AND t.state IN ('SUCCESS', 'FAILURE');

-- name: forget_chord
-- End a run of a chord: it is complete, and no call is the one that completed it.
UPDATE fullresult_chord
SET joined = 0, size = 0, added = 0, last_call = '', completed = NULL, look_at = NULL
WHERE chord_id = ?
RETURNING 1;

-- name: forget_members
-- Delete the members of chords that have expired.
DELETE FROM fullresult_chord_member WHERE chord_id IN (SELECT value FROM json_each(?));

-- name: forget_bodies
-- Delete the bodies of chords that were forgotten or have expired.
DELETE FROM fullresult_chord_body WHERE chord_id IN (SELECT value FROM json_each(?)) RETURNING 1;

-- name: keep_audit
-- Add an entry to the audit log, to be found by each of its tasks; an entry that is there stays.
-- Differs from postgresql.sql: a trigger writes the rows of its tasks.
INSERT INTO fullresult_audit (entry_id, at, actor, action, task_ids, details, outcome)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entry_id) DO NOTHING;

-- name: audit
-- Entries of the audit log; conditions and order are appended.
SELECT a.entry_id, a.at, a.actor, a.action, a.task_ids, a.details, a.outcome
FROM fullresult_audit AS a;

-- name: forget_audit
-- Delete the oldest entries of the audit log, after the rows of their tasks.
-- Differs from postgresql.sql: `forget_audited_tasks` is a statement of its own.
DELETE FROM fullresult_audit
WHERE entry_id IN (
    SELECT a.entry_id FROM fullresult_audit AS a WHERE a.at <= ? ORDER BY a.at, a.entry_id LIMIT ?
)
RETURNING entry_id;

-- name: forget_audited_tasks
-- Delete the rows of the tasks that the oldest entries of the audit log name.
-- Not in postgresql.sql, where it is a part of `forget_audit`.
DELETE FROM fullresult_audit_task
WHERE (task_id, entry_id) IN (
    SELECT task.value, a.entry_id
    FROM (
        SELECT entry_id, task_ids FROM fullresult_audit WHERE at <= ? ORDER BY at, entry_id LIMIT ?
    ) AS a, json_each(a.task_ids) AS task
);

-- name: audit_of_task
-- A condition on the audit log: the entry names a task.
a.entry_id IN (SELECT d.entry_id FROM fullresult_audit_task AS d WHERE d.task_id = ?);

-- name: add_replay
-- Keep a new replay; no row if one with its id is there.
INSERT INTO fullresult_replay (replay_id, namespace, state, date_created, version, about)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (replay_id) DO NOTHING
RETURNING replay_id;

-- name: change_replay
-- Keep a replay in place of one version of it; no row if there is another by now.
UPDATE fullresult_replay SET state = ?, version = ?, about = ?
WHERE replay_id = ? AND version = ?
RETURNING replay_id;

-- name: replays
-- Replays; conditions and order are appended.
SELECT r.replay_id, r.namespace, r.state, r.date_created, r.version, r.about
FROM fullresult_replay AS r;

-- name: take_for_replay
-- Note that a replay takes a task; no row if one has it already.
INSERT INTO fullresult_replayed (task_id, replay_id, position, new_id, schedule_id)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO NOTHING
RETURNING task_id;

-- name: replayed
-- The last tasks that a replay took, of positions below a bound.
SELECT task_id, position, new_id, schedule_id FROM fullresult_replayed
WHERE replay_id = ? AND position < ?
ORDER BY position DESC
LIMIT ?;

-- name: count_replayed
-- Of the last tasks that a replay took: their number, and of those not sent, by claim.
SELECT
    count(*),
    count(*) FILTER (WHERE s.schedule_id IS NOT NULL AND s.claim IS NULL),
    count(s.claim)
FROM (
    SELECT d.schedule_id FROM fullresult_replayed AS d
    WHERE d.replay_id = ? ORDER BY d.position DESC LIMIT ?
) AS taken
LEFT JOIN fullresult_schedule AS s
    ON s.schedule_id = taken.schedule_id AND s.date_withdrawn IS NULL;

-- name: count_replayed_ends
-- Of the last tasks that a replay took and that are sent: how many have ended, by state.
SELECT t.state, count(*)
FROM (
    SELECT d.schedule_id, d.new_id FROM fullresult_replayed AS d
    WHERE d.replay_id = ? ORDER BY d.position DESC LIMIT ?
) AS taken
JOIN fullresult_task AS t ON t.task_id = taken.new_id
WHERE NOT t.open
    AND NOT EXISTS (
        SELECT 1 FROM fullresult_schedule AS s
        WHERE s.schedule_id = taken.schedule_id AND s.date_withdrawn IS NULL
    )
GROUP BY t.state;

-- name: give_up_replayed
-- Forget that a replay took some tasks. A new id is of one task, and of one replay.
DELETE FROM fullresult_replayed WHERE {of_tasks} AND {of_new} RETURNING task_id;

-- name: forget_replayed
-- Delete some of what was taken by replays that are over and were created before a time.
DELETE FROM fullresult_replayed
WHERE task_id IN (
    SELECT d.task_id
    FROM fullresult_replayed AS d
    JOIN fullresult_replay AS r ON r.replay_id = d.replay_id
    WHERE r.date_created <= ? AND r.state IN ('CANCELLED', 'DONE', 'UNDONE')
    LIMIT ?
)
RETURNING task_id;

-- name: forget_replays
-- Delete such replays of which nothing that they took is left.
DELETE FROM fullresult_replay
WHERE replay_id IN (
    SELECT r.replay_id
    FROM fullresult_replay AS r
    WHERE r.date_created <= ? AND r.state IN ('CANCELLED', 'DONE', 'UNDONE')
        AND NOT EXISTS (SELECT 1 FROM fullresult_replayed AS d WHERE d.replay_id = r.replay_id)
    LIMIT ?
)
RETURNING replay_id;

-- name: now
-- The database's clock.
-- Differs from postgresql.sql: a date is text.
SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now') || '+00:00';

-- name: create_schema
-- The table of the schema's versions, which the migrations are counted in.
-- Differs from postgresql.sql: a date is text.
CREATE TABLE IF NOT EXISTS fullresult_schema (
    version integer PRIMARY KEY,
    applied text NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- name: unresolved
-- A condition on records: not dealt with.
-- Differs from postgresql.sql: substr, for right.
(t.resent IS NULL OR substr(t.resent, -1) = '~') AND NOT EXISTS (
    SELECT 1 FROM fullresult_failure AS f
    WHERE f.fingerprint = t.fingerprint AND f.status = 'resolved' AND f.date_decided >= t.date_done
);

-- name: dealt_with
-- Its contrary: sent again since its outcome, or in a group that was resolved after it had failed.
-- Differs from postgresql.sql: substr, for right.
substr(t.resent, -1) = '.' OR EXISTS (
    SELECT 1 FROM fullresult_failure AS f
    WHERE f.fingerprint = t.fingerprint AND f.status = 'resolved' AND f.date_decided >= t.date_done
);

-- name: find_failures
-- Groups of failures, those that failed last first. Steps from fingerprint to fingerprint along an
-- index (`known`), one look for each, then reads each group's ends, and counts up to a bound.
-- Differs from postgresql.sql: there is no LATERAL; the index is named, for one that has few of a
-- group may seem better, and both counts are of one walk, put together as one number.
WITH RECURSIVE known AS (
    SELECT min(t.fingerprint) AS fingerprint
    FROM fullresult_task AS t INDEXED BY fullresult_task_failure
    WHERE t.fingerprint IS NOT NULL{one}
    UNION ALL
    SELECT (
        SELECT min(t.fingerprint) FROM fullresult_task AS t INDEXED BY fullresult_task_failure
        WHERE t.fingerprint > known.fingerprint{one}
    )
    FROM known
    WHERE known.fingerprint IS NOT NULL
    LIMIT {looked}
),
last AS MATERIALIZED (
    SELECT known.fingerprint, (
        SELECT t.date_done FROM fullresult_task AS t INDEXED BY fullresult_task_failure
        WHERE t.fingerprint = known.fingerprint AND t.date_done IS NOT NULL
        ORDER BY t.date_done DESC LIMIT 1
    ) AS date_done
    FROM known WHERE known.fingerprint IS NOT NULL
),
newest AS MATERIALIZED (
    SELECT last.fingerprint, last.date_done, (
        SELECT max(t.task_id) FROM fullresult_task AS t INDEXED BY fullresult_task_failure
        WHERE t.fingerprint = last.fingerprint AND t.date_done = last.date_done
    ) AS task_id
    FROM last
    WHERE last.date_done IS NOT NULL{since_last}
    ORDER BY last.date_done DESC, last.fingerprint
    LIMIT {limit}
),
counted AS MATERIALIZED (
    SELECT newest.fingerprint, (
        SELECT count(*) * 1000000 + count(*) FILTER (
            WHERE coalesce(substr(each.resent, -1), '~') = '~'
            AND (f.status IS NOT 'resolved' OR each.date_done > f.date_decided)
        )
        FROM (
            SELECT t.date_done, t.resent
            FROM fullresult_task AS t INDEXED BY fullresult_task_failure
            WHERE t.fingerprint = newest.fingerprint AND t.date_done IS NOT NULL{since}
            ORDER BY t.date_done DESC
            LIMIT {most}
        ) AS each
    ) AS both
    FROM newest LEFT JOIN fullresult_failure AS f ON f.fingerprint = newest.fingerprint
)
SELECT
    newest.fingerprint,
    (
        SELECT t.date_done FROM fullresult_task AS t INDEXED BY fullresult_task_failure
        WHERE t.fingerprint = newest.fingerprint AND t.date_done IS NOT NULL
        ORDER BY t.date_done LIMIT 1
    ),
    newest.date_done, newest.task_id,
    t.name, t.state, t.exception_type, t.exception_message, t.outcome_stamp,
    counted.both / 1000000, counted.both % 1000000,
    f.status, f.date_decided, f.until_time, f.until_count, f.release, f.actor, f.note
FROM newest
JOIN fullresult_task AS t ON t.task_id = newest.task_id
JOIN counted ON counted.fingerprint = newest.fingerprint
LEFT JOIN fullresult_failure AS f ON f.fingerprint = newest.fingerprint
ORDER BY newest.date_done DESC, newest.fingerprint;

-- name: keep_decision
-- Keep what was decided last about a group.
INSERT INTO fullresult_failure (
    fingerprint, status, date_decided, until_time, until_count, release, actor, note
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (fingerprint) DO UPDATE SET
    status = excluded.status,
    date_decided = excluded.date_decided,
    until_time = excluded.until_time,
    until_count = excluded.until_count,
    release = excluded.release,
    actor = excluded.actor,
    note = excluded.note
RETURNING 1;

-- name: find_decisions
-- What was decided about some groups.
SELECT fingerprint, status, date_decided, until_time, until_count, release, actor, note
FROM fullresult_failure
WHERE fingerprint IN (SELECT value FROM json_each(?));

-- name: find_all_decisions
-- What was decided about any group.
SELECT fingerprint, status, date_decided, until_time, until_count, release, actor, note
FROM fullresult_failure;

-- name: set_fingerprints
-- Give fingerprints, a JSON array of [task id, stamp, fingerprint], to records that have none.
-- Differs from postgresql.sql: the functions of JSON.
UPDATE fullresult_task AS t SET fingerprint = json_extract(e.value, '$[2]')
FROM json_each(?) AS e
WHERE t.task_id = json_extract(e.value, '$[0]')
    AND t.outcome_stamp = json_extract(e.value, '$[1]') AND t.fingerprint IS NULL
RETURNING 1;

-- name: keep_pause
-- Keep that somebody paused a queue, in place of an earlier pause.
INSERT INTO fullresult_pause (namespace, queue, since, until, actor, reason)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, queue) DO UPDATE SET
    since = excluded.since,
    until = excluded.until,
    actor = excluded.actor,
    reason = excluded.reason
RETURNING 1;

-- name: end_pause
-- Delete the pause of a queue.
DELETE FROM fullresult_pause WHERE namespace = ? AND queue = ?
RETURNING 1;

-- name: find_pauses
-- The queues that are paused.
SELECT namespace, queue, since, until, actor, reason FROM fullresult_pause;

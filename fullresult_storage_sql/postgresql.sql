-- Statements of PostgreSQL. Parameters are text; see rows.py.
-- Long because all statements of one database stand together: the two files are read side by side.

-- name: write
-- Merge one event into its task's row: the latest outcome and stored result, the first message and
-- start. A success that is not the latest outcome becomes an entry, by a trigger. statements.py spells out `{, latest …}` and `{, first …}`: a CASE for each column, and a
-- comma before it. A part that the event has not is left out, which halves what is sent. ON
-- CONFLICT makes it one statement and one round trip, whether the row is there or not.
INSERT INTO fullresult_task AS t ({columns})
{values}
ON CONFLICT (task_id) DO UPDATE SET
    date_created = LEAST(t.date_created, excluded.date_created),
    date_updated = GREATEST(t.date_updated, excluded.date_updated),
    date_published = LEAST(t.date_published, excluded.date_published)
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
    THEN json_build_array(
        excluded.outcome_stamp, excluded.retries, excluded.worker, excluded.date_started,
        excluded.date_done
    ) END
RETURNING message_stamp IS NULL OR again_stamp IS NOT NULL;

-- name: again
-- A part of `write`: the least stamp of the publishes after the first. What a worker tells is none.
again_stamp = LEAST(
        t.again_stamp, excluded.again_stamp,
        CASE WHEN t.message_stamp <> excluded.message_stamp
            AND GREATEST(t.message_stamp, excluded.message_stamp) < '00000000021'
        THEN GREATEST(t.message_stamp, excluded.message_stamp) END
    );

-- name: entries
-- Stands before `write`, so that a row and its entries are inserted in one statement.
WITH entry AS (
    INSERT INTO fullresult_execution (
        task_id, stamp, retries, state, worker, date_started, date_done,
        exception_type, exception_message, traceback
    )
    SELECT %s, e.*
    FROM jsonb_to_recordset(%s::jsonb) AS e(
        stamp text, retries integer, state text, worker text,
        date_started timestamptz, date_done timestamptz,
        exception_type text, exception_message text, traceback text
    )
    ON CONFLICT DO NOTHING
);

-- name: batch
-- Stands for VALUES in `write`: many events, given as one JSON array of objects. JSON among their
-- values is text there, as it is in a parameter.
SELECT {columns}
FROM json_populate_recordset(NULL::fullresult_task, %s::json) AS e;

-- name: batch_entries
-- Stands for `entries` before a batch: the entries of many events, which name their tasks.
WITH entry AS (
    INSERT INTO fullresult_execution (
        task_id, stamp, retries, state, worker, date_started, date_done,
        exception_type, exception_message, traceback
    )
    SELECT
        e.task_id, e.stamp, e.retries, e.state, e.worker, e.date_started, e.date_done,
        e.exception_type, e.exception_message, e.traceback
    FROM json_populate_recordset(NULL::fullresult_execution, %s::json) AS e
    ON CONFLICT DO NOTHING
);

-- name: prune_entries
-- Delete the entries of a task but for its newest 1,000.
DELETE FROM fullresult_execution
WHERE task_id = %s AND stamp < (
    SELECT stamp FROM fullresult_execution WHERE task_id = %s
    ORDER BY stamp DESC LIMIT 1 OFFSET 999
)
RETURNING 1;

-- name: select
-- Records with their newest 1,000 entries, in one consistent read; conditions and order are appended.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result::text, t.result_text, t.result_form, t.exception_type, t.exception_message,
    t.traceback, t.children, t.expire_at, t.fingerprint, t.message_stamp, t.name, t.args::text,
    t.kwargs::text, t.embed, t.body, t.content_type, t.content_encoding, t.headers,
    t.properties, t.exchange,
    t.routing_key, t.queue, t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id,
    t.retry_of, t.notes, t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message,
    (
        SELECT json_agg(json_build_array(
            e.stamp, e.retries, e.state, e.worker,
            (extract(epoch FROM e.date_started) * 1000)::bigint,
            (extract(epoch FROM e.date_done) * 1000)::bigint,
            e.exception_type, e.exception_message, e.traceback
        ) ORDER BY e.stamp)::text
        FROM (
            SELECT * FROM fullresult_execution AS x
            WHERE x.task_id = t.task_id ORDER BY x.stamp DESC LIMIT 1000
        ) AS e
    )
FROM fullresult_task AS t;

-- name: get_results
-- Records by their ids, without their entries: all that a result needs.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result::text, t.result_text, t.result_form, t.exception_type, t.exception_message,
    t.traceback, t.children, t.expire_at, t.fingerprint, t.message_stamp, t.name, t.args::text,
    t.kwargs::text, t.embed, t.body, t.content_type, t.content_encoding, t.headers,
    t.properties, t.exchange,
    t.routing_key, t.queue, t.priority, t.eta, t.expires, t.root_id, t.parent_id, t.group_id,
    t.retry_of, t.notes, t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message
FROM fullresult_task AS t
WHERE t.task_id = ANY(%s::text[]);

-- name: get_results_only
-- The same with only those parts of the message that Celery shows with any result.
SELECT
    t.task_id, t.date_created, t.date_updated, t.date_published, t.outcome_stamp, t.state,
    t.open, t.retries, t.worker, t.date_started, t.date_done, t.stale_from, t.runtime,
    t.result::text, t.result_text, t.result_form, t.exception_type, t.exception_message,
    t.traceback, t.children, t.expire_at, t.fingerprint,
    t.message_stamp, t.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, t.queue,
    NULL, NULL, NULL, NULL, t.parent_id, t.group_id, NULL, NULL,
    t.start_stamp, t.start_worker, t.start_date,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding, t.resent,
    t.again_stamp, t.own_stamp, t.own_message
FROM fullresult_task AS t
WHERE t.task_id = ANY(%s::text[]);

-- name: get_successes
-- The results of a chord's members that succeeded, as a backend stored them or else as recorded.
SELECT
    t.task_id, CASE WHEN t.stored_stamp = t.outcome_stamp THEN NULL ELSE t.result::text END,
    t.stored_stamp, t.stored_body, t.stored_content_type, t.stored_content_encoding
FROM fullresult_task AS t
WHERE t.task_id = ANY(%s::text[]) AND t.state = 'SUCCESS'
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
WHERE t.task_id >= %s AND t.task_id < %s
ORDER BY t.task_id
LIMIT %s;

-- name: ids_in
-- The ids that another statement finds, as a part of a UNION, where SQLite allows no LIMIT.
SELECT t.task_id FROM ({found}) AS t;

-- name: page_of_rare
-- The ids of a page for a filter that few records match. Finds all matches, then sorts them; `+
-- interval '0'` keeps the planner from walking the whole table in the order of an index instead.
SELECT t.task_id FROM fullresult_task AS t{where}
ORDER BY t.date_created + interval '0' {direction}, t.task_id {direction}
LIMIT {limit};

-- name: page_by_walk_then_index
-- The ids of a page for JSON that most records may match, or none. Walks through the next records
-- in order (`walked`); if their matches do not fill the page, finds all matches by an index and
-- sorts them (`found`). Either way alone can take as long as reading the table, and statistics,
-- which know little of JSON, do not tell which.
-- Not in sqlite.sql, where an index has JSON in the order of a listing or not at all.
WITH walked AS MATERIALIZED (
    SELECT t.task_id
    FROM (SELECT * FROM fullresult_task AS t{walk}) AS t{where}{order}
    LIMIT {limit}
)
SELECT walked.task_id FROM walked
UNION ALL
SELECT found.task_id FROM (
    SELECT t.task_id FROM fullresult_task AS t{where}
    AND (SELECT count(*) FROM walked) < {limit}
    ORDER BY t.date_created + interval '0' {direction}, t.task_id {direction}
    LIMIT {limit}
) AS found;

-- name: small_or_large
-- A condition that every record meets, to stand beside one on arguments: one index has the records
-- whose arguments are small, by their arguments, and another the others. These are its predicates.
-- Not in sqlite.sql, where all arguments of `fullresult_index_kwargs` are in its indexes.
COALESCE(octet_length(t.body), octet_length(t.args::text) + octet_length(t.kwargs::text), 0) <= 8192
OR COALESCE(octet_length(t.body), octet_length(t.args::text) + octet_length(t.kwargs::text), 0) > 8192;

-- name: page_by_walk_then_names
-- The ids of a page for a glob. Walks through the next records in order (`walked`); if their
-- matches do not fill the page, takes the first records of each name that matches (`found`). An
-- index tells the names, one step for each; if there are very many, or very many match, all records
-- are looked through instead (`sought`).
WITH RECURSIVE walked AS MATERIALIZED (
    SELECT t.task_id
    FROM (SELECT * FROM fullresult_task AS t{walk}) AS t{where}{order}
    LIMIT {limit}
),
known AS (
    (SELECT t.name FROM fullresult_task AS t WHERE {between} ORDER BY t.name LIMIT 1)
    UNION ALL
    SELECT next.name
    FROM known
    CROSS JOIN LATERAL (
        SELECT t.name FROM fullresult_task AS t
        WHERE t.name > known.name AND {between}
        ORDER BY t.name
        LIMIT 1
    ) AS next
),
names AS MATERIALIZED (
    SELECT known.name FROM known
    WHERE (SELECT count(*) FROM walked) < {limit}
    LIMIT {most}
),
matching AS MATERIALIZED (
    SELECT t.name FROM names AS t WHERE {like} AND (SELECT count(*) FROM names) < {most}
    LIMIT {few}
)
SELECT walked.task_id FROM walked
UNION ALL
SELECT found.task_id FROM (
    SELECT first.task_id
    FROM (
        SELECT matching.name FROM matching WHERE (SELECT count(*) FROM matching) < {few}
    ) AS one
    CROSS JOIN LATERAL (
        SELECT t.task_id, t.date_created FROM fullresult_task AS t
        WHERE t.name = one.name{rest}{order}
        LIMIT {limit}
    ) AS first
    ORDER BY first.date_created {direction}, first.task_id {direction}
    LIMIT {limit}
) AS found
UNION ALL
SELECT sought.task_id FROM (
    SELECT t.task_id FROM fullresult_task AS t{where}
    AND {between}
    AND ((SELECT count(*) FROM names) = {most} OR (SELECT count(*) FROM matching) = {few})
    ORDER BY t.date_created + interval '0' {direction}, t.task_id {direction}
    LIMIT {limit}
) AS sought;

-- name: count
-- The number of records that meet the conditions, which are appended.
SELECT count(*) FROM fullresult_task AS t;

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
WITH page AS MATERIALIZED (
    SELECT
        t.task_id, t.date_created, t.name, t.queue, t.content_type, t.properties, t.args, t.kwargs,
        t.eta, t.notes,
        (
            t.embed IS NOT NULL OR coalesce(starts_with(t.name, 'celery.'), false)
            OR coalesce(position('subtask_type'::bytea IN t.body) > 0, false)
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
        CASE WHEN NOT p.apart THEN substring(p.properties FROM '"compression": "([^"]*)"') END
            AS compression,
        CASE WHEN NOT p.apart AND jsonb_typeof(p.args) = 'array' THEN jsonb_array_length(p.args) END
            AS positional,
        CASE
            WHEN NOT p.apart AND p.kwargs = '{{}}' THEN '[]'
            WHEN NOT p.apart AND jsonb_typeof(p.kwargs) = 'object' THEN (
                SELECT jsonb_agg(k ORDER BY k COLLATE "C")::text FROM jsonb_object_keys(p.kwargs) AS k
            )
        END AS keywords,
        CASE WHEN NOT p.apart AND position('by message protocol 1' IN p.notes) > 0 THEN 1 ELSE 2 END
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
    WHERE t.date_created >= %s AND t.date_created < %s
    ORDER BY t.date_created DESC, t.task_id DESC
    LIMIT %s
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
WHERE t.date_created >= %s AND t.date_created < %s
ORDER BY t.date_created DESC, t.task_id DESC
LIMIT %s;

-- name: lock
-- Keep writers from records that are to be deleted; `{found}` selects the ids. In the order of the
-- ids, so that two who delete the same ones do not wait for each other.
WITH found AS MATERIALIZED ({found})
SELECT t.task_id FROM fullresult_task AS t
WHERE t.task_id IN (SELECT found.task_id FROM found)
ORDER BY t.task_id
FOR UPDATE OF t;

-- name: delete
-- Delete records and their entries, by the ids that `lock` answered.
WITH entry AS (DELETE FROM fullresult_execution WHERE task_id = ANY(%s))
DELETE FROM fullresult_task WHERE task_id = ANY(%s);

-- name: lock_expired
-- Lock the records that expire first, from a date on. Skips what is locked: by another purge, or by
-- a writer, who may be about to keep the record. A purge goes on from the date it came to: until it
-- is vacuumed, the index leads to every row that was deleted.
SELECT t.task_id, t.expire_at FROM fullresult_task AS t
WHERE t.expire_at >= %s AND t.expire_at <= %s
ORDER BY t.expire_at
LIMIT %s
FOR UPDATE SKIP LOCKED;

-- name: lock_expired_unmoved
-- The same where there are partitions: what was moved is dropped with its day.
SELECT t.task_id, t.expire_at FROM fullresult_task AS t
WHERE t.expires_on = 'infinity' AND t.expire_at >= %s AND t.expire_at <= %s
ORDER BY t.expire_at
LIMIT %s
FOR UPDATE SKIP LOCKED;

-- name: delete_expired_groups
-- Delete the saved groups that expire first.
DELETE FROM fullresult_group
WHERE group_id = ANY(ARRAY(
    SELECT g.group_id FROM fullresult_group AS g
    WHERE g.expire_at <= %s
    ORDER BY g.expire_at
    LIMIT %s
    FOR UPDATE SKIP LOCKED
))
RETURNING 1;

-- name: expired_chords
-- Lock the chords that expire first, and answer their ids.
SELECT c.chord_id FROM fullresult_chord AS c
WHERE c.expire_at <= %s
ORDER BY c.expire_at
LIMIT %s
FOR UPDATE SKIP LOCKED;

-- name: forget_some_members
-- Delete members of chords that have expired, up to a limit: one chord may have a million.
DELETE FROM fullresult_chord_member
WHERE ctid = ANY(ARRAY(
    SELECT m.ctid FROM fullresult_chord_member AS m WHERE m.chord_id = ANY(%s) LIMIT %s
))
RETURNING 1;

-- name: empty_chords
-- Of chords of which some members are deleted, count none: who adds a member now begins at one.
UPDATE fullresult_chord
SET joined = 0, added = 0, size = NULL, last_call = '', completed = NULL, look_at = NULL
WHERE chord_id = ANY(%s)
RETURNING 1;

-- name: forget_chords
-- Delete the counts of chords that have expired, after their members.
DELETE FROM fullresult_chord WHERE chord_id = ANY(%s) RETURNING 1;

-- name: session_settings
-- Dates are text in one form, and a statement sees what was committed before it. No JIT, no parallel
-- workers: a page from an index takes less time than starting either. And the server ends a statement
-- before its client gives up.
SELECT
    set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('jit', 'off', false), set_config('max_parallel_workers_per_gather', '0', false),
    set_config('statement_timeout', %s, false),
    (SELECT c.relkind = 'p' FROM pg_class AS c WHERE c.oid = to_regclass('fullresult_task'));

-- name: transaction_settings
-- The same for one transaction: where a proxy lends a session to others in between, it is left as it was.
SELECT
    set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true),
    set_config('statement_timeout', %s, true);

-- name: date_style
-- How the session writes dates: where it is shared, this is not ours to set.
SELECT current_setting('DateStyle');

-- name: notice_lost_clients
-- Whatever a server does for a client that hung up, it ends within half a second, also where it waits
-- for a lock. Refused by servers whose operating system does not tell.
SELECT set_config('client_connection_check_interval', '500ms', false);

-- name: give_up_lost_clients
-- The server ends the session of a client whose host does not answer for so long. No host is asked by way
-- of a socket file.
SELECT
    set_config('tcp_user_timeout', %s, false), set_config('tcp_keepalives_idle', %s, false);

-- name: room
-- The connections that the server has for those who are not superusers, those in use, and how many of
-- these are ours and do not last.
SELECT
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int,
    count(*), count(*) FILTER (WHERE strpos(application_name, %s) > 0)
FROM pg_stat_activity WHERE datid IS NOT NULL;

-- name: end_soon
-- The server ends this session when it has been idle for a second, and shows that it does.
SELECT
    set_config('idle_session_timeout', '1s', false),
    set_config('application_name', left(current_setting('application_name'), 30) || %s, false);

-- name: statement_timeout
-- Another time limit for the statements of one transaction.
SELECT set_config('statement_timeout', %s, true);

-- name: prefer_index
-- Walk along an index, in its order, for one transaction. It is the one good way to schedules and
-- to what expires, and the statistics of rows that come and go are soon wrong.
SELECT
    set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true);

-- name: dead_rows
-- The number of schedules that are gone and not yet vacuumed. Statistics have it a second late.
SELECT pg_stat_get_dead_tuples('fullresult_schedule'::regclass);

-- name: durable
-- Commit to the disk, for one transaction, whatever the defaults of the role or database; and to
-- standbys, where PostgreSQL waits for those. For schedules and claims.
SELECT CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
    THEN set_config('synchronous_commit', 'on', true) END;

-- name: durable_prefer_index
-- `durable` and `prefer_index` in one statement, for what is done many times a second.
SELECT
    CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
    THEN set_config('synchronous_commit', 'on', true) END,
    set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true);

-- name: schedule
-- Stands before `write`, so that a schedule and its event are inserted in one statement.
kept AS (
    INSERT INTO fullresult_schedule (
        schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
        new_task_id
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (schedule_id) DO NOTHING
);

-- name: schedules
-- Schedules; conditions, order and limit are appended.
SELECT
    s.schedule_id, s.task_id, s.namespace, s.due, s.date_scheduled, s.name, s.queue, s.body,
    s.headers, s.how, s.new_task_id, s.claim, s.date_claimed, s.problem, s.at_least_once
FROM fullresult_schedule AS s;

-- name: page_of_schedules
-- A page of schedules: the first that wait in each namespace and the first that are claimed,
-- merged. An index tells the namespaces, one step for each.
-- Not in sqlite.sql: there, one index has all schedules in this order.
WITH RECURSIVE known AS (
    SELECT min(namespace) AS namespace FROM fullresult_schedule
    WHERE claim IS NULL AND date_withdrawn IS NULL
    UNION ALL
    SELECT (
        SELECT min(w.namespace) FROM fullresult_schedule AS w
        WHERE w.namespace > known.namespace AND w.claim IS NULL AND w.date_withdrawn IS NULL
    )
    FROM known
    WHERE known.namespace IS NOT NULL
),
page AS (
    SELECT waiting.*
    FROM known
    CROSS JOIN LATERAL (
        SELECT * FROM fullresult_schedule AS s{waiting} AND s.namespace = known.namespace
        ORDER BY s.due, s.schedule_id
        LIMIT {limit}
    ) AS waiting
    UNION ALL
    (
        SELECT * FROM fullresult_schedule AS s{claimed}
        ORDER BY s.due, s.schedule_id
        LIMIT {limit}
    )
)
SELECT
    s.schedule_id, s.task_id, s.namespace, s.due, s.date_scheduled, s.name, s.queue, s.body,
    s.headers, s.how, s.new_task_id, s.claim, s.date_claimed, s.problem, s.at_least_once
FROM page AS s
ORDER BY s.due, s.schedule_id
LIMIT {limit};

-- name: outbox
-- Tasks that are to commit with the caller's data, by a connection of the caller's: schedules, and
-- the first events of their records, in one JSON parameter. ON CONFLICT DO NOTHING without a target,
-- so that nobody waits for the caller's transaction and INSERT is the only right that is needed. By
-- way of text, for a program may have a codec of its own for JSON.
-- Not in sqlite.sql: there, each row is a statement.
WITH given AS (SELECT %s::text::json AS rows),
kept AS (
    INSERT INTO {schema}.fullresult_schedule (
        schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
        at_least_once
    )
    SELECT
        s.schedule_id, s.task_id, s.namespace,
        date_trunc('milliseconds', COALESCE(
            clock_timestamp() + make_interval(secs => (e.item ->> 'delay')::float8), s.due
        )),
        s.date_scheduled, s.name, s.queue, s.body, s.headers, s.how, s.at_least_once
    FROM given
    CROSS JOIN LATERAL json_array_elements(given.rows -> 'schedules') AS e(item)
    CROSS JOIN LATERAL json_populate_record(NULL::{schema}.fullresult_schedule, e.item) AS s
    ON CONFLICT DO NOTHING
),
recorded AS (
    INSERT INTO {schema}.fullresult_task ({columns})
    SELECT {values}
    FROM given
    CROSS JOIN LATERAL json_populate_recordset(
        NULL::{schema}.fullresult_task, given.rows -> 'events'
    ) AS e
    ON CONFLICT DO NOTHING
)
SELECT {tell} FROM given;

-- name: tell
-- How `outbox` tells a sweeper, if one rests: then it holds this lock, and each transaction gives a
-- notice. A notice locks out all others until its commit is on the disk. So while the sweeper looks by
-- itself, none is given, and the lock is shared until the end: it does not rest before that.
-- Not in sqlite.sql: there, it is the file that tells.
CASE WHEN NOT pg_try_advisory_xact_lock_shared((given.rows ->> 'lock')::bigint)
THEN pg_notify('fullresult', given.rows ->> 'wake') END;

-- name: rest
-- A sweeper rests from now on, if no transaction shares the lock: each gives a notice then.
-- Not in sqlite.sql: there, it is the file that tells.
SELECT pg_try_advisory_lock(%s);

-- name: rest_no_more
-- It rests no longer, and looks by itself.
-- Not in sqlite.sql: there, it is the file that tells.
SELECT pg_advisory_unlock_all();

-- name: reached
-- How far this server has come. Of what the primary logs, also what no disk has yet; just behind
-- the header of an empty page of the log is where the last record ended, before that header.
-- Not in sqlite.sql: a file has no replicas.
SELECT
    recovery,
    CASE WHEN recovery THEN pg_last_wal_replay_lsn() - '0/0' ELSE place - CASE
        WHEN mod(place, pg_size_bytes(current_setting('wal_segment_size'))) = 40 THEN 40
        WHEN mod(place, current_setting('wal_block_size')::int) = 24 THEN 24
        ELSE 0
    END END,
    CASE WHEN recovery THEN pg_last_xact_replay_timestamp() ELSE clock_timestamp() END,
    clock_timestamp(),
    (SELECT system_identifier::text FROM pg_control_system())
FROM (
    SELECT recovery, CASE WHEN NOT recovery THEN pg_current_wal_insert_lsn() - '0/0' END AS place
    FROM pg_is_in_recovery() AS recovery
) AS here;

-- name: home
-- The schema in which this connection finds our tables.
-- Not in sqlite.sql: there, it is the file that tells.
SELECT quote_ident(n.nspname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = 'fullresult_schedule'::regclass;

-- name: has_tables
-- The table of schedules in that schema, as the caller's connection sees it; NULL without one.
-- Not in sqlite.sql: there, it is the file that tells.
SELECT CASE WHEN to_regclass('{quoted}.fullresult_schema') IS NOT NULL
    THEN to_regclass('{quoted}.fullresult_schedule')::oid::text END;

-- name: identity
-- What tells this database from others: also from a copy of it, if the role may read that. By way
-- of JSON, for in an old schema the column is missing, and an error would end the transaction.
SELECT
    max(to_jsonb(s) ->> 'identity'), to_regclass('{quoted}.fullresult_schedule')::oid::text,
    CASE WHEN has_function_privilege('pg_control_system()', 'execute')
    THEN (SELECT c.system_identifier::text FROM pg_control_system() AS c) END,
    (SELECT d.oid::text FROM pg_database AS d WHERE d.datname = current_database())
FROM {schema}.fullresult_schema AS s;

-- name: of_tasks
-- A condition on schedules: the record of its task meets {where}.
EXISTS (SELECT 1 FROM fullresult_task AS t{where} AND t.task_id = s.task_id);

-- name: any_of_many
-- A condition: {column} is one of any number of ids, given as one parameter.
{column} = ANY(%s);

-- name: count_schedules
-- The number of schedules that meet the conditions, which are appended.
SELECT count(*) FROM fullresult_schedule AS s;

-- name: claim_due
-- Claim the schedules of a namespace that are due first. ARRAY, so that they are chosen and locked
-- once, whatever the plan.
UPDATE fullresult_schedule AS s
SET claim = %s, date_claimed = %s
WHERE s.schedule_id = ANY(ARRAY(
    SELECT w.schedule_id
    FROM fullresult_schedule AS w
    WHERE w.namespace = %s AND (w.due, w.schedule_id) >= (%s, %s) AND w.due <= %s
        AND w.claim IS NULL AND w.date_withdrawn IS NULL
    ORDER BY w.due, w.schedule_id
    LIMIT %s
    FOR UPDATE SKIP LOCKED
))
RETURNING
    s.schedule_id, s.task_id, s.namespace, s.due, s.date_scheduled, s.name, s.queue, s.body,
    s.headers, s.how, s.new_task_id, s.claim, s.date_claimed, s.problem, s.at_least_once;

-- name: take_over
-- Claim one schedule for a person, if its claim is still the one that was seen.
UPDATE fullresult_schedule
SET claim = %s, date_claimed = %s, problem = NULL
WHERE schedule_id = %s AND claim IS NOT DISTINCT FROM %s AND date_withdrawn IS NULL
RETURNING
    schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how,
    new_task_id, claim, date_claimed, problem, at_least_once;

-- name: close
-- Delete the schedules of a claim that were sent. Not `claim =`: PostgreSQL might read the whole
-- index of claimed schedules.
DELETE FROM fullresult_schedule AS s
WHERE s.claim IS NOT DISTINCT FROM %s AND s.schedule_id = ANY(%s)
RETURNING s.schedule_id;

-- name: mark_problem
-- Note why a claimed schedule was not sent.
UPDATE fullresult_schedule SET problem = %s WHERE claim = %s AND schedule_id = %s RETURNING 1;

-- name: release
-- Let claimed schedules wait again: those of one claim, or of any if it is null.
UPDATE fullresult_schedule
SET claim = NULL, date_claimed = NULL, problem = NULL
WHERE schedule_id = ANY(%s) AND claim = COALESCE(%s, claim)
RETURNING schedule_id;

-- name: cancel
-- Delete a schedule that waits.
DELETE FROM fullresult_schedule
WHERE schedule_id = %s AND claim IS NULL AND date_withdrawn IS NULL
RETURNING 1;

-- name: reschedule
-- Change when a schedule that waits is due; with a third parameter, only if it is due then.
UPDATE fullresult_schedule SET due = %s
WHERE schedule_id = %s AND claim IS NULL AND date_withdrawn IS NULL
    AND due = COALESCE(%s::timestamptz, due)
RETURNING 1;

-- name: withdraw
-- Leave a mark instead of a schedule that waits, or in the way of one that is still to come.
INSERT INTO fullresult_schedule AS s (
    schedule_id, task_id, namespace, due, date_scheduled, body, headers, how, date_withdrawn
)
VALUES (%s, '', '', now(), now(), '', '', '', now())
ON CONFLICT (schedule_id) DO UPDATE SET body = '', headers = '', how = '', date_withdrawn = now()
WHERE s.claim IS NULL
RETURNING 1;

-- name: forget_withdrawn
-- Delete marks that are seven days old: no schedule is on its way as long.
DELETE FROM fullresult_schedule
WHERE schedule_id IN (
    SELECT schedule_id FROM fullresult_schedule
    WHERE date_withdrawn < now() - interval '7 days'
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
RETURNING 1;

-- name: next_due
-- When the first waiting schedule of a namespace is due.
SELECT s.due FROM fullresult_schedule AS s
WHERE s.namespace = %s AND (s.due, s.schedule_id) >= (%s, %s)
    AND s.claim IS NULL AND s.date_withdrawn IS NULL
ORDER BY s.due, s.schedule_id
LIMIT 1;

-- name: note_sweep
-- Note that a sweeper of a namespace was at work; the latest time stays.
INSERT INTO fullresult_sweep AS s (namespace, at) VALUES (%s, %s)
ON CONFLICT (namespace) DO UPDATE SET at = GREATEST(s.at, excluded.at)
RETURNING set_config('synchronous_commit', 'off', true);

-- name: last_sweep
-- When a sweeper of a namespace was last at work.
SELECT at FROM fullresult_sweep WHERE namespace = %s;

-- name: note_worker
-- Note a worker's heartbeat, merged with earlier and later ones.
INSERT INTO fullresult_worker AS w
    (worker_id, name, date_started, date_seen, alive_until, date_stopped)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (worker_id) DO UPDATE SET
    date_started = LEAST(w.date_started, excluded.date_started),
    date_seen = GREATEST(w.date_seen, excluded.date_seen),
    alive_until = GREATEST(w.alive_until, excluded.alive_until),
    date_stopped = LEAST(w.date_stopped, excluded.date_stopped)
RETURNING set_config('synchronous_commit', 'off', true);

-- name: find_workers
-- All workers of which something is known.
SELECT worker_id, name, date_started, date_seen, alive_until, date_stopped FROM fullresult_worker;

-- name: forget_workers
-- Delete workers that were last seen at a time or before.
DELETE FROM fullresult_worker WHERE date_seen <= %s RETURNING 1;

-- name: note_card
-- Keep a worker's card in place of an older one.
INSERT INTO fullresult_worker_card AS c (worker_id, date_written, names_id, card)
VALUES (%s, %s, %s, %s)
ON CONFLICT (worker_id) DO UPDATE SET
    date_written = excluded.date_written, names_id = excluded.names_id, card = excluded.card
    WHERE c.date_written < excluded.date_written
RETURNING set_config('synchronous_commit', 'off', true);

-- name: note_names
-- Keep the names of the tasks that a worker knows, and note that they are known now.
INSERT INTO fullresult_worker_names AS n (names_id, date_noted, names)
VALUES (%s, %s, %s)
ON CONFLICT (names_id) DO UPDATE SET date_noted = GREATEST(n.date_noted, excluded.date_noted)
RETURNING set_config('synchronous_commit', 'off', true);

-- name: find_cards
-- The cards of some workers.
SELECT worker_id, date_written, names_id, card FROM fullresult_worker_card
WHERE worker_id = ANY (%s);

-- name: find_all_cards
-- The cards of all workers.
SELECT worker_id, date_written, names_id, card FROM fullresult_worker_card;

-- name: find_names
-- The names of the tasks that workers know, for some lists of them.
SELECT names_id, names FROM fullresult_worker_names WHERE names_id = ANY (%s);

-- name: forget_gone
-- Delete the workers that are gone, but for the last seen. Rows that another deletes are left to it.
DELETE FROM fullresult_worker WHERE worker_id = ANY (ARRAY(
    SELECT worker_id FROM fullresult_worker
    WHERE date_stopped IS NOT NULL OR alive_until < %s
    ORDER BY date_seen DESC, worker_id OFFSET %s
    FOR UPDATE SKIP LOCKED
)) RETURNING 1;

-- name: forget_cards
-- Delete the cards of workers that are not kept.
DELETE FROM fullresult_worker_card WHERE worker_id = ANY (ARRAY(
    SELECT c.worker_id FROM fullresult_worker_card AS c
    WHERE NOT EXISTS (SELECT 1 FROM fullresult_worker AS w WHERE w.worker_id = c.worker_id)
    FOR UPDATE OF c SKIP LOCKED
)) RETURNING 1;

-- name: forget_names
-- Delete the names that no card has and no worker noted since a time.
DELETE FROM fullresult_worker_names WHERE names_id = ANY (ARRAY(
    SELECT n.names_id FROM fullresult_worker_names AS n
    WHERE n.date_noted <= %s
        AND NOT EXISTS (SELECT 1 FROM fullresult_worker_card AS c WHERE c.names_id = n.names_id)
    FOR UPDATE OF n SKIP LOCKED
)) RETURNING 1;

-- name: save_group
-- Keep a group's value for a result backend, in place of an older one.
INSERT INTO fullresult_group (group_id, value, expire_at) VALUES (%s, %s, %s)
ON CONFLICT (group_id) DO UPDATE SET value = excluded.value, expire_at = excluded.expire_at
RETURNING 1;

-- name: restore_group
-- A saved group's value.
SELECT value FROM fullresult_group WHERE group_id = %s;

-- name: restore_groups
-- The values of many saved groups.
SELECT group_id, value FROM fullresult_group WHERE group_id = ANY(%s);

-- name: delete_group
-- Delete a saved group.
DELETE FROM fullresult_group WHERE group_id = %s RETURNING 1;

-- name: delete_groups
-- Delete many saved groups.
DELETE FROM fullresult_group WHERE group_id = ANY(%s) RETURNING 1;

-- name: joining
-- A part of `join_chord` and `write_and_join`: adds a member to a chord and counts it. A member
-- that was known adds no row to `joined`. Each who adds one waits for the row that counts, and so
-- sees all members counted before. The date of expiry is rounded up to the hour: it is in an index,
-- and so changes seldom.
new AS (
    INSERT INTO fullresult_chord_member (chord_id, member) VALUES (%s, %s)
    ON CONFLICT DO NOTHING
    RETURNING chord_id
),
member (size, call, expires) AS (
    VALUES (%s::integer, %s, date_trunc('hour', %s::timestamptz) + interval '1 hour')
),
joined AS (
    INSERT INTO fullresult_chord AS c (chord_id, joined, size, last_call, completed, expire_at)
    SELECT
        new.chord_id, 1, member.size, member.call,
        CASE WHEN member.size = 1 THEN clock_timestamp() END, member.expires
    FROM new, member
    ON CONFLICT (chord_id) DO UPDATE SET
        joined = c.joined + 1,
        size = coalesce(c.size, excluded.size),
        last_call = CASE WHEN c.joined >= coalesce(c.size, excluded.size) + c.added THEN c.last_call
            ELSE excluded.last_call END,
        completed = CASE WHEN c.joined + 1 = coalesce(c.size, excluded.size) + c.added
            THEN clock_timestamp() ELSE c.completed END,
        expire_at = CASE WHEN c.expire_at >= excluded.expire_at THEN c.expire_at
            WHEN c.expire_at IS NOT NULL THEN excluded.expire_at END
    RETURNING coalesce(joined = size + added, false) AS complete
);

-- name: join_chord
-- Add a member to a chord and count it: true if it completes the chord, no row if it was known.
WITH {joining}
SELECT complete FROM joined;

-- name: write_and_join
-- Stands after WITH: the end of a chord's member and its joining, in one statement. The member's
-- row is written first, then the count that all members wait for.
-- Not in sqlite.sql: there, they are statements of one transaction.
{joining},
ended (lacking) AS (
{write}
)
SELECT ended.lacking, (SELECT complete FROM joined) FROM ended;

-- name: completed_by
-- True if a call completed a chord: asked for a member that joins again.
SELECT c.last_call = %s AND coalesce(c.joined >= c.size + c.added, false)
FROM fullresult_chord AS c
WHERE c.chord_id = %s;

-- name: begin_chord
-- Begin a run of a chord: the next one if it is complete, else the one that it is in; returns its
-- number.
WITH kept AS (
    INSERT INTO fullresult_chord_body AS b (chord_id, body) VALUES (%s, %s)
    ON CONFLICT (chord_id) DO UPDATE SET body = excluded.body
    RETURNING chord_id
)
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, size, expire_at, look_at)
SELECT
    kept.chord_id, 0, '', %s::integer,
    date_trunc('hour', %s::timestamptz) + interval '1 hour', clock_timestamp()
FROM kept
ON CONFLICT (chord_id) DO UPDATE SET
    run = CASE WHEN c.joined >= c.size + c.added THEN c.run + 1 ELSE c.run END,
    joined = CASE WHEN c.joined >= c.size + c.added THEN 0 ELSE c.joined END,
    last_call = CASE WHEN c.joined >= c.size + c.added THEN '' ELSE c.last_call END,
    added = CASE WHEN c.joined >= c.size + c.added THEN 0 ELSE c.added END,
    size = CASE WHEN c.joined >= c.size + c.added THEN excluded.size
        ELSE coalesce(excluded.size, c.size) END,
    completed = CASE WHEN c.joined >= c.size + c.added THEN NULL
        WHEN c.joined >= excluded.size + c.added THEN clock_timestamp() END,
    expire_at = CASE WHEN c.expire_at >= excluded.expire_at THEN c.expire_at
        WHEN c.expire_at IS NOT NULL THEN excluded.expire_at END,
    look_at = excluded.look_at,
    looked = 0,
    pause = 0
RETURNING run;

-- name: set_chord_size
-- Note how many members a chord has, unless it is complete. It is now if that many were counted.
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, size, expire_at)
VALUES (%s, 0, '', %s::integer, date_trunc('hour', %s::timestamptz) + interval '1 hour')
ON CONFLICT (chord_id) DO UPDATE SET
    size = CASE WHEN c.joined >= c.size + c.added THEN c.size
        ELSE greatest(c.size, excluded.size) END,
    completed = CASE WHEN coalesce(c.joined < c.size + c.added, true)
        AND c.joined >= greatest(c.size, excluded.size) + c.added
        THEN clock_timestamp() ELSE c.completed END
RETURNING 1;

-- name: add_to_chord
-- Wait for one more member of a chord, unless its name is known or the chord is complete.
WITH new AS (
    INSERT INTO fullresult_chord_member (chord_id, member) VALUES (%s, %s)
    ON CONFLICT DO NOTHING
    RETURNING chord_id
)
INSERT INTO fullresult_chord AS c (chord_id, joined, last_call, added, expire_at)
SELECT new.chord_id, 0, '', 1, date_trunc('hour', %s::timestamptz) + interval '1 hour'
FROM new
ON CONFLICT (chord_id) DO UPDATE SET
    added = CASE WHEN c.joined >= c.size + c.added THEN c.added ELSE c.added + 1 END
RETURNING 1;

-- name: get_members
-- The names of the members of a chord that are known, and of those added.
SELECT member FROM fullresult_chord_member WHERE chord_id = %s;

-- name: close_chord
-- Note that the body of a chord is sent, if the call that sent it is still the last.
UPDATE fullresult_chord SET completed = NULL, look_at = NULL
WHERE chord_id = %s AND last_call = %s
RETURNING 1;

-- name: take_complete_chords
-- Take over chords that are complete for some time and whose bodies are not known to be sent.
WITH taken AS (
    UPDATE fullresult_chord AS c SET completed = clock_timestamp(), last_call = %s
    WHERE c.chord_id = ANY(ARRAY(
        SELECT d.chord_id FROM fullresult_chord AS d
        WHERE d.completed <= %s
        ORDER BY d.completed
        LIMIT %s
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING c.chord_id, c.run
)
SELECT taken.chord_id, taken.run, coalesce(b.body, '')
FROM taken LEFT JOIN fullresult_chord_body AS b ON b.chord_id = taken.chord_id;

-- name: take_quiet_chords
-- Look at chords that are not known to be complete, and have it done again later; for each: did it
-- have no new member, and is it not complete? What another call looks at is left to it.
UPDATE fullresult_chord AS c SET
    looked = c.joined,
    pause = CASE WHEN c.joined = c.looked THEN least(greatest(10, c.pause * 3 / 2), 3600) ELSE 0 END,
    look_at = CASE WHEN coalesce(c.joined < c.size + c.added, true)
        THEN clock_timestamp() + make_interval(
            secs => CASE WHEN c.joined = c.looked
                THEN least(greatest(10, c.pause * 3 / 2), 3600) ELSE 0 END
        ) END
WHERE c.chord_id = ANY(ARRAY(
    SELECT d.chord_id FROM fullresult_chord AS d
    WHERE d.look_at <= %s
    ORDER BY d.look_at
    LIMIT %s
    FOR UPDATE SKIP LOCKED
))
RETURNING
    c.look_at IS NOT NULL AND c.pause > 0, c.chord_id, c.run,
    coalesce((SELECT b.body FROM fullresult_chord_body AS b WHERE b.chord_id = c.chord_id), '');

-- name: find_ended_members
-- The tasks of a group that succeeded or failed.
SELECT t.task_id FROM fullresult_task AS t
WHERE t.group_id = %s AND t.state IN ('SUCCESS', 'FAILURE');

-- name: forget_chord
-- End a run of a chord: it is complete, and no call is the one that completed it.
UPDATE fullresult_chord
SET joined = 0, size = 0, added = 0, last_call = '', completed = NULL, look_at = NULL
WHERE chord_id = %s
RETURNING 1;

-- name: forget_members
-- Delete the members of chords that have expired.
DELETE FROM fullresult_chord_member WHERE chord_id = ANY(%s);

-- name: forget_bodies
-- Delete the bodies of chords that were forgotten or have expired.
DELETE FROM fullresult_chord_body WHERE chord_id = ANY(%s) RETURNING 1;

-- name: keep_audit
-- Add an entry to the audit log, to be found by each of its tasks; an entry that is there stays.
WITH kept AS (
    INSERT INTO fullresult_audit (entry_id, at, actor, action, task_ids, details, outcome)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (entry_id) DO NOTHING
    RETURNING entry_id, task_ids
)
INSERT INTO fullresult_audit_task (task_id, entry_id)
SELECT task.id, kept.entry_id
FROM kept, jsonb_array_elements_text(kept.task_ids::jsonb) AS task(id)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: audit
-- Entries of the audit log; conditions and order are appended.
SELECT a.entry_id, a.at, a.actor, a.action, a.task_ids, a.details, a.outcome
FROM fullresult_audit AS a;

-- name: forget_audit
-- Delete the oldest entries of the audit log, and the rows of their tasks.
WITH gone AS (
    DELETE FROM fullresult_audit
    WHERE entry_id = ANY(ARRAY(
        SELECT a.entry_id FROM fullresult_audit AS a
        WHERE a.at <= %s
        ORDER BY a.at, a.entry_id
        LIMIT %s
    ))
    RETURNING entry_id, task_ids
),
tasks AS (
    DELETE FROM fullresult_audit_task AS d
    USING gone, jsonb_array_elements_text(gone.task_ids::jsonb) AS task(id)
    WHERE d.task_id = task.id AND d.entry_id = gone.entry_id
)
SELECT entry_id FROM gone;

-- name: audit_of_task
-- A condition on the audit log: the entry names a task.
a.entry_id IN (SELECT d.entry_id FROM fullresult_audit_task AS d WHERE d.task_id = %s);

-- name: add_replay
-- Keep a new replay; no row if one with its id is there.
INSERT INTO fullresult_replay (replay_id, namespace, state, date_created, version, about)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (replay_id) DO NOTHING
RETURNING replay_id;

-- name: change_replay
-- Keep a replay in place of one version of it; no row if there is another by now.
UPDATE fullresult_replay SET state = %s, version = %s, about = %s
WHERE replay_id = %s AND version = %s
RETURNING replay_id;

-- name: replays
-- Replays; conditions and order are appended.
SELECT r.replay_id, r.namespace, r.state, r.date_created, r.version, r.about
FROM fullresult_replay AS r;

-- name: take_for_replay
-- Note that a replay takes a task; no row if one has it already.
INSERT INTO fullresult_replayed (task_id, replay_id, position, new_id, schedule_id)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (task_id) DO NOTHING
RETURNING task_id;

-- name: replayed
-- The last tasks that a replay took, of positions below a bound.
SELECT task_id, position, new_id, schedule_id FROM fullresult_replayed
WHERE replay_id = %s AND position < %s
ORDER BY position DESC
LIMIT %s;

-- name: count_replayed
-- Of the last tasks that a replay took: their number, and of those not sent, by claim.
SELECT
    count(*),
    count(*) FILTER (WHERE s.schedule_id IS NOT NULL AND s.claim IS NULL),
    count(s.claim)
FROM (
    SELECT d.schedule_id FROM fullresult_replayed AS d
    WHERE d.replay_id = %s ORDER BY d.position DESC LIMIT %s
) AS taken
LEFT JOIN fullresult_schedule AS s
    ON s.schedule_id = taken.schedule_id AND s.date_withdrawn IS NULL;

-- name: count_replayed_ends
-- Of the last tasks that a replay took and that are sent: how many have ended, by state.
SELECT t.state, count(*)
FROM (
    SELECT d.schedule_id, d.new_id FROM fullresult_replayed AS d
    WHERE d.replay_id = %s ORDER BY d.position DESC LIMIT %s
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
    WHERE r.date_created <= %s AND r.state IN ('CANCELLED', 'DONE', 'UNDONE')
    LIMIT %s
)
RETURNING task_id;

-- name: forget_replays
-- Delete such replays of which nothing that they took is left.
DELETE FROM fullresult_replay
WHERE replay_id IN (
    SELECT r.replay_id
    FROM fullresult_replay AS r
    WHERE r.date_created <= %s AND r.state IN ('CANCELLED', 'DONE', 'UNDONE')
        AND NOT EXISTS (SELECT 1 FROM fullresult_replayed AS d WHERE d.replay_id = r.replay_id)
    LIMIT %s
)
RETURNING replay_id;

-- name: now
-- The database's clock.
SELECT clock_timestamp();

-- name: large_tables
-- Those of some tables that are there and have at least so many bytes.
SELECT c.relname FROM pg_class AS c
WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
    AND pg_relation_size(c.oid) >= %s;

-- name: state_of_index
-- If an index is there: ready, being built by somebody, or left unfinished.
SELECT CASE WHEN i.indisvalid THEN 'ready'
    WHEN EXISTS (
        SELECT 1 FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
    ) THEN 'being built'
    ELSE 'unfinished' END
FROM pg_index AS i
WHERE i.indexrelid = to_regclass(%s);

-- name: create_schema
-- The table of the schema's versions, which the migrations are counted in.
CREATE TABLE IF NOT EXISTS fullresult_schema (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

-- name: unresolved
-- A condition on records: not dealt with.
(t.resent IS NULL OR right(t.resent, 1) = '~') AND NOT EXISTS (
    SELECT 1 FROM fullresult_failure AS f
    WHERE f.fingerprint = t.fingerprint AND f.status = 'resolved' AND f.date_decided >= t.date_done
);

-- name: dealt_with
-- Its contrary: sent again since its outcome, or in a group that was resolved after it had failed.
right(t.resent, 1) = '.' OR EXISTS (
    SELECT 1 FROM fullresult_failure AS f
    WHERE f.fingerprint = t.fingerprint AND f.status = 'resolved' AND f.date_decided >= t.date_done
);

-- name: find_failures
-- Groups of failures, those that failed last first. Steps from fingerprint to fingerprint along an
-- index (`known`), one look for each, then reads each group's ends, and counts up to a bound.
WITH RECURSIVE known AS (
    SELECT min(t.fingerprint) AS fingerprint FROM fullresult_task AS t
    WHERE t.fingerprint IS NOT NULL{one}
    UNION ALL
    SELECT (
        SELECT min(t.fingerprint) FROM fullresult_task AS t
        WHERE t.fingerprint > known.fingerprint{one}
    )
    FROM known
    WHERE known.fingerprint IS NOT NULL
),
newest AS MATERIALIZED (
    SELECT known.fingerprint, last.task_id, last.date_done
    FROM (SELECT known.fingerprint FROM known WHERE known.fingerprint IS NOT NULL LIMIT {looked})
        AS known
    CROSS JOIN LATERAL (
        SELECT t.task_id, t.date_done FROM fullresult_task AS t
        WHERE t.fingerprint = known.fingerprint AND t.date_done IS NOT NULL
        ORDER BY t.date_done DESC, t.task_id DESC
        LIMIT 1
    ) AS last
    WHERE last.date_done IS NOT NULL{since_last}
    ORDER BY last.date_done DESC, known.fingerprint
    LIMIT {limit}
)
SELECT
    newest.fingerprint, first.date_done, newest.date_done, newest.task_id,
    t.name, t.state, t.exception_type, t.exception_message, t.outcome_stamp,
    counted.number, counted.unresolved,
    f.status, f.date_decided, f.until_time, f.until_count, f.release, f.actor, f.note
FROM newest
JOIN fullresult_task AS t ON t.task_id = newest.task_id
LEFT JOIN fullresult_failure AS f ON f.fingerprint = newest.fingerprint
CROSS JOIN LATERAL (
    SELECT t.date_done FROM fullresult_task AS t
    WHERE t.fingerprint = newest.fingerprint AND t.date_done IS NOT NULL
    ORDER BY t.date_done
    LIMIT 1
) AS first
CROSS JOIN LATERAL (
    SELECT count(*) AS number, count(*) FILTER (
        WHERE coalesce(right(each.resent, 1), '~') = '~'
        AND (f.status IS DISTINCT FROM 'resolved' OR each.date_done > f.date_decided)
    ) AS unresolved
    FROM (
        SELECT t.date_done, t.resent FROM fullresult_task AS t
        WHERE t.fingerprint = newest.fingerprint AND t.date_done IS NOT NULL{since}
        ORDER BY t.date_done DESC
        LIMIT {most}
    ) AS each
) AS counted
ORDER BY newest.date_done DESC, newest.fingerprint;

-- name: keep_decision
-- Keep what was decided last about a group.
INSERT INTO fullresult_failure (
    fingerprint, status, date_decided, until_time, until_count, release, actor, note
)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
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
WHERE fingerprint = ANY(%s);

-- name: find_all_decisions
-- What was decided about any group.
SELECT fingerprint, status, date_decided, until_time, until_count, release, actor, note
FROM fullresult_failure;

-- name: set_fingerprints
-- Give fingerprints, a JSON array of [task id, stamp, fingerprint], to records that have none.
UPDATE fullresult_task AS t SET fingerprint = e.value ->> 2
FROM json_array_elements(%s::json) AS e(value)
WHERE t.task_id = e.value ->> 0 AND t.outcome_stamp = e.value ->> 1 AND t.fingerprint IS NULL
RETURNING 1;

-- name: is_partitioned
-- True if the records lie in partitions.
SELECT c.relkind = 'p' FROM pg_class AS c WHERE c.oid = to_regclass('fullresult_task');

-- name: partitions
-- The bounds of the partitions, as PostgreSQL writes them.
SELECT pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'fullresult_task'::regclass;

-- name: lock_partitions
-- One process at a time makes partitions.
SELECT pg_advisory_xact_lock(7310293059);

-- name: make_partition
-- A table that is to be a partition.
CREATE TABLE {schema}.{name} (LIKE {schema}.{parent} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STATISTICS);
COMMENT ON TABLE {schema}.{name} IS 'a partition made by fullresult';

-- name: attach_partition
-- Make it one: beside readers and writers, which CREATE … PARTITION OF locks out.
ALTER TABLE {schema}.{parent} ATTACH PARTITION {schema}.{name}
FOR VALUES FROM ('{first}') TO ('{end}');

-- name: detachment
-- If a table is a partition: true if its detachment was cut off.
SELECT i.inhdetachpending FROM pg_inherits AS i WHERE i.inhrelid = to_regclass(%s);

-- name: detached
-- Tables that were partitions, and were not dropped yet.
SELECT c.relname FROM pg_class AS c
JOIN pg_class AS parent ON parent.relnamespace = c.relnamespace
WHERE parent.oid = 'fullresult_task'::regclass AND c.relkind = 'r'
    AND NOT c.relispartition
    AND obj_description(c.oid, 'pg_class') = 'a partition made by fullresult';

-- name: movable
-- The next records along an index, and for each that ended and was not written since a time: the day
-- on which it expires.
SELECT
    t.task_id, t.date_created,
    CASE WHEN NOT t.open AND t.state <> 'SCHEDULED' AND t.date_updated < %s
        AND t.expire_at > %s AND t.expire_at < %s
    THEN (t.expire_at AT TIME ZONE 'UTC')::date END
FROM fullresult_task AS t
WHERE t.expires_on = 'infinity' AND (t.date_created, t.task_id) > (%s, %s) AND t.date_created < %s
ORDER BY t.date_created, t.task_id
LIMIT %s;

-- name: move
-- Move ended records, and their entries, to the partitions of the days on which they expire. What
-- somebody else has locked is left where it is.
WITH moved AS (
    UPDATE fullresult_task AS t SET expires_on = (t.expire_at AT TIME ZONE 'UTC')::date
    WHERE t.expires_on = 'infinity' AND t.task_id = ANY(ARRAY(
        SELECT w.task_id FROM fullresult_task AS w
        WHERE w.task_id = ANY(%s) AND w.expires_on = 'infinity'
            AND NOT w.open AND w.state <> 'SCHEDULED' AND w.date_updated < %s
            AND (w.expire_at AT TIME ZONE 'UTC')::date = ANY(%s)
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING t.task_id, t.expires_on
),
entries AS (
    UPDATE fullresult_execution AS e SET expires_on = moved.expires_on
    FROM moved
    WHERE e.task_id = moved.task_id AND e.expires_on = 'infinity'
)
SELECT moved.task_id FROM moved;

-- name: in_partitions
-- Those of some tasks of which a part was moved.
SELECT t.task_id FROM fullresult_task AS t
WHERE t.task_id = ANY(%s) AND t.expires_on < 'infinity'
FOR UPDATE;

-- name: bring_back
-- Stands before `write`: takes what was moved of some tasks, to be merged with what was written since.
WITH old AS (
    DELETE FROM fullresult_task WHERE task_id = ANY(%s) AND expires_on < 'infinity' RETURNING *
);

-- name: old
-- Stands for VALUES in that `write`.
SELECT {columns} FROM old;

-- name: count_partition
-- The number of records in a partition.
SELECT count(*) FROM {name};

-- name: bring_entries_back
-- The same for their entries.
WITH old AS (
    DELETE FROM fullresult_execution WHERE task_id = ANY(%s) AND expires_on < 'infinity' RETURNING *
)
INSERT INTO fullresult_execution (
    task_id, stamp, retries, state, worker, date_started, date_done,
    exception_type, exception_message, traceback
)
SELECT
    task_id, stamp, retries, state, worker, date_started, date_done,
    exception_type, exception_message, traceback
FROM old
ON CONFLICT DO NOTHING;

-- name: kind_of_table
-- A table's kind: "p" if it is partitioned.
SELECT c.relkind FROM pg_class AS c WHERE c.oid = to_regclass(%s);

-- name: add_expires_on
-- The column that a table is to be partitioned by, the same in all rows that are there.
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS expires_on date NOT NULL DEFAULT 'infinity';
ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_unmoved;
ALTER TABLE {table} ADD CONSTRAINT {table}_unmoved CHECK (expires_on = 'infinity') NOT VALID;

-- name: validate_unmoved
-- Look at every row, beside writers: else they would have to wait while the table is attached.
ALTER TABLE {table} VALIDATE CONSTRAINT {table}_unmoved;

-- name: indexes_to_partition
-- The indexes of a table but for its keys, and how each is made.
SELECT c.relname, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(%s) AND NOT i.indisunique AND i.indisvalid;

-- name: triggers_to_partition
-- Our triggers on a table, and how each is made.
SELECT g.tgname, pg_get_triggerdef(g.oid) FROM pg_trigger AS g
WHERE g.tgrelid = to_regclass(%s) AND NOT g.tgisinternal AND g.tgname LIKE 'fullresult\_%%';

-- name: rename_unmoved
-- The table under another name, and a partitioned table under its name.
ALTER TABLE {schema}.{table} RENAME TO {table}_unmoved;
ALTER TABLE {schema}.{table}_unmoved DROP CONSTRAINT {table}_pkey;
ALTER TABLE {schema}.{table}_unmoved
    ADD CONSTRAINT {table}_unmoved_pkey PRIMARY KEY USING INDEX {table}_unmoved_pkey;
CREATE TABLE {schema}.{table} (
    LIKE {schema}.{table}_unmoved
        INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STATISTICS,
    CONSTRAINT {table}_pkey PRIMARY KEY ({key})
)
PARTITION BY RANGE (expires_on);

-- name: attach_unmoved
-- Its indexes become those of the partition, as they are made alike.
ALTER TABLE {schema}.{table} ATTACH PARTITION {schema}.{table}_unmoved
FOR VALUES FROM ('infinity') TO (MAXVALUE);

-- name: grants_to_partition
-- What roles may do with one table, as statements that let them do it with another.
SELECT format(
    'GRANT %%s ON %%s TO %%s%%s', a.privilege_type, to_regclass(%s),
    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = to_regclass(%s);

-- name: begin_to_partition
-- True for one session at a time.
SELECT pg_try_advisory_lock(7310293060);

-- name: end_to_partition
-- Let others.
SELECT pg_advisory_unlock(7310293060);

-- name: keep_pause
-- Keep that somebody paused a queue, in place of an earlier pause.
INSERT INTO fullresult_pause (namespace, queue, since, until, actor, reason)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (namespace, queue) DO UPDATE SET
    since = excluded.since,
    until = excluded.until,
    actor = excluded.actor,
    reason = excluded.reason
RETURNING 1;

-- name: end_pause
-- Delete the pause of a queue.
DELETE FROM fullresult_pause WHERE namespace = %s AND queue = %s
RETURNING 1;

-- name: find_pauses
-- The queues that are paused.
SELECT namespace, queue, since, until, actor, reason FROM fullresult_pause;

-- What the version of the project with schema 6 left: `OLD_RECORDS`. Never change it.

CREATE TABLE IF NOT EXISTS fullresult_schema (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

-- One row per task. The columns of an outcome, of a message and of a start stand or fall together,
-- by the stamp before them.
CREATE TABLE fullresult_task (
    task_id text COLLATE "C" PRIMARY KEY,
    date_created timestamptz NOT NULL,
    date_updated timestamptz NOT NULL,
    date_published timestamptz,

    outcome_stamp text COLLATE "C",
    state text COLLATE "C",
    open boolean,
    retries integer,
    worker text COLLATE "C",
    date_started timestamptz,
    date_done timestamptz,
    stale_from timestamptz,
    runtime double precision,
    result json,
    result_text text,
    result_form text,
    exception_type text,
    exception_message text,
    traceback text,
    children text,

    message_stamp text COLLATE "C",
    name text COLLATE "C",
    args jsonb,
    kwargs jsonb,
    embed text,
    body bytea,
    content_type text,
    content_encoding text,
    headers text,
    properties text,
    exchange text,
    routing_key text,
    queue text COLLATE "C",
    priority integer,
    eta timestamptz,
    expires timestamptz,
    root_id text COLLATE "C",
    parent_id text COLLATE "C",
    group_id text COLLATE "C",
    retry_of text COLLATE "C",
    notes text,

    start_stamp text COLLATE "C",
    start_worker text COLLATE "C",
    start_date timestamptz,

    -- Where a record is looked for that did not simply succeed. Generated, so that a state that
    -- changes within one bucket (PENDING, STARTED) changes no index, and the row is updated in place.
    bucket text COLLATE "C" GENERATED ALWAYS AS
        (CASE WHEN open THEN 'OPEN' WHEN state <> 'SUCCESS' THEN state END) STORED
)
WITH (fillfactor = 85);

CREATE TABLE fullresult_execution (
    task_id text COLLATE "C" NOT NULL,
    stamp text COLLATE "C" NOT NULL,
    retries integer NOT NULL,
    state text NOT NULL,
    worker text,
    date_started timestamptz,
    date_done timestamptz,
    exception_type text,
    exception_message text,
    traceback text,
    PRIMARY KEY (task_id, stamp)
);

CREATE INDEX fullresult_task_created ON fullresult_task (date_created, task_id);

CREATE INDEX fullresult_task_bucket ON fullresult_task (bucket, date_created, task_id)
    WHERE bucket IS NOT NULL;

CREATE INDEX fullresult_task_name ON fullresult_task (name, date_created, task_id);

CREATE INDEX fullresult_task_arguments ON fullresult_task
    USING gin (kwargs jsonb_path_ops, args jsonb_path_ops)
    -- What is not yet in the index itself is read by each search: let it be little.
    WITH (gin_pending_list_limit = 512);

CREATE INDEX fullresult_task_root ON fullresult_task (root_id, date_created)
    WHERE root_id <> task_id;

CREATE INDEX fullresult_task_group ON fullresult_task (group_id, date_created)
    WHERE group_id IS NOT NULL;

CREATE INDEX fullresult_task_retry_of ON fullresult_task (retry_of)
    WHERE retry_of IS NOT NULL;

-- What waits in the storage until it is due: one row per message, gone when it is sent.
CREATE TABLE fullresult_schedule (
    schedule_id text COLLATE "C" PRIMARY KEY,
    task_id text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    due timestamptz NOT NULL,
    date_scheduled timestamptz NOT NULL,
    name text,
    queue text,
    body bytea NOT NULL,
    headers text NOT NULL,
    how text NOT NULL,
    new_task_id text,
    claim text COLLATE "C",
    date_claimed timestamptz,
    problem text,

    -- Not null: nothing but a mark that no schedule of this id is to be kept any more.
    date_withdrawn timestamptz
)
-- Rows come and go, and those gone stand first in the index that claims are made by. Once a minute
-- they are swept out, however many others wait.
WITH (
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.5
);

-- A claim writes every index that has the claimed row: there are as few as can be.
CREATE INDEX fullresult_schedule_waiting ON fullresult_schedule (namespace, due, schedule_id)
    WHERE claim IS NULL AND date_withdrawn IS NULL;

CREATE INDEX fullresult_schedule_task ON fullresult_schedule (task_id)
    WHERE claim IS NULL AND date_withdrawn IS NULL;

CREATE INDEX fullresult_schedule_claimed ON fullresult_schedule (due, schedule_id)
    WHERE claim IS NOT NULL;

CREATE INDEX fullresult_schedule_withdrawn ON fullresult_schedule (date_withdrawn)
    WHERE date_withdrawn IS NOT NULL;

-- When a sweeper of each namespace was last at work.
CREATE TABLE fullresult_sweep (
    namespace text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL
)
WITH (fillfactor = 50);

-- What a result backend was given: its columns stand or fall together, by their stamp. And when a
-- record may be deleted, which is a part of its outcome.
ALTER TABLE fullresult_task
    ADD COLUMN stored_stamp text COLLATE "C",
    ADD COLUMN stored_body bytea,
    ADD COLUMN stored_content_type text,
    ADD COLUMN stored_content_encoding text,
    ADD COLUMN expire_at timestamptz;

CREATE INDEX fullresult_task_expire ON fullresult_task (expire_at)
    WHERE expire_at IS NOT NULL;

-- What a result backend keeps beside records: groups that were saved, ...
CREATE TABLE fullresult_group (
    group_id text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    expire_at timestamptz
);

CREATE INDEX fullresult_group_expire ON fullresult_group (expire_at)
    WHERE expire_at IS NOT NULL;

-- ... how many members of a chord have ended, and which. Whoever adds a member adds it up.
CREATE TABLE fullresult_chord (
    chord_id text COLLATE "C" PRIMARY KEY,
    joined integer NOT NULL,
    -- Of the latest of the members that count: when their number is complete, of the last.
    last_call text NOT NULL,
    expire_at timestamptz
)
-- Counting changes no index, so that the row is updated in place.
WITH (fillfactor = 50);

CREATE INDEX fullresult_chord_expire ON fullresult_chord (expire_at)
    WHERE expire_at IS NOT NULL;

CREATE TABLE fullresult_chord_member (
    chord_id text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    PRIMARY KEY (chord_id, member)
);

-- Which workers are alive: one row for each time that one was started.
CREATE TABLE fullresult_worker (
    worker_id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    date_started timestamptz NOT NULL,
    date_seen timestamptz NOT NULL,
    alive_until timestamptz NOT NULL,
    date_stopped timestamptz
)
-- A heartbeat changes no index, so that the row is updated in place.
WITH (fillfactor = 50);

-- What people did, who and when.
CREATE TABLE fullresult_audit (
    entry_id text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    -- JSON
    task_ids text NOT NULL,
    details text NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX fullresult_audit_at ON fullresult_audit (at, entry_id);

CREATE INDEX fullresult_audit_actor ON fullresult_audit (actor, at, entry_id);

CREATE INDEX fullresult_audit_action ON fullresult_audit (action, at, entry_id);

-- What was done to each task.
CREATE TABLE fullresult_audit_task (
    task_id text COLLATE "C" NOT NULL,
    entry_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, entry_id)
);

INSERT INTO fullresult_schema (version) VALUES (1);
INSERT INTO fullresult_schema (version) VALUES (2);
INSERT INTO fullresult_schema (version) VALUES (3);
INSERT INTO fullresult_schema (version) VALUES (4);
INSERT INTO fullresult_schema (version) VALUES (5);
INSERT INTO fullresult_schema (version) VALUES (6);

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, stale_from, message_stamp, name)
VALUES ('old open', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '000000000400649add449300000000000', 'STARTED', 'true', '0', '2026-01-31 12:00:00+00', '000000000200649add449300000000000', 'shop.pay');

INSERT INTO fullresult_task (task_id, date_created, date_updated, outcome_stamp, state, open, retries, date_done, stale_from)
VALUES ('old outcome', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '000000000680649add449300000000000', 'FAILURE', 'false', '0', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00');

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, date_done, stale_from, message_stamp, name, kwargs)
VALUES ('old paid', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '0000000006A0649add449300000000000', 'SUCCESS', 'false', '0', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00+00', '000000000200649add449300000000000', 'shop.pay', '{"order": 7}');

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result, result_text, result_form, exception_type, exception_message, traceback, children, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding, headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id, group_id, retry_of, notes, start_stamp, start_worker, start_date)
VALUES ('old rich', '2026-01-31 12:00:00+00', '2026-01-31 12:00:00.005+00', '2026-01-31 12:00:00.004+00', '000000003680649add4493000000000a1', 'FAILURE', 'false', '3', 'Wörker-1@höst', '2026-01-31 12:00:00.001+00', '2026-01-31 12:00:00.002+00', '2026-01-31 12:00:00.003+00', '0.1234567890123', E'{"$set": {"a.b": [1, 2.5, null, true]}, "": "é\\u4e2d \\ud83d\\ude00"}', E'NaN and 	 tabs,
 lines, ''quotes", \\ and 🎉', 'json', 'shop.errors.Überlauf', '$money > 100 %; DROP TABLE fullresult_task; --', 'Traceback (most recent call last):
  File …
', '["a", ["g", ["b", "c"]]]', '000000000200649add4493000000000a1', 'магазин.задачи.оплатить', '[1, "two", {"three": 3.5}, null, true, 12345678901234567890]', E'{"": null, "é": "中", "$inc": {"a.b.c": 1}, "q\\"uote": "it''s"}', '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}', E'\\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'application/json', 'utf-8', '{"id": "x", "argsrepr": "(1,)", "stamps": {"a$.b": ["c"]}}', '{"delivery_mode": 2, "priority": 7}', '', 'clé.de.routage', 'очередь', '7', '2026-01-31 12:01:00+00', '9999-12-31 23:59:59.999+00', 'root $.%_', 'parent', 'group', 'old', '{"args": "cut: 17 characters"}', '000000000400649add44933e8000000a1', 'Wörker-0@höst', '2026-01-31 12:00:00.001+00');

INSERT INTO fullresult_execution (task_id, stamp, retries, state, worker, date_started, date_done, exception_type, exception_message, traceback)
VALUES ('old rich', '000000002500649add4493000000000a1', '2', 'RETRY', 'Wörker-1@höst', '1970-01-01 00:00:00+00', '9999-12-31 23:59:59.999+00', 'ValueError', E'lines
and ''quotes" and \\ and 中 🎉', 'Traceback …');

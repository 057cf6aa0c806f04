-- What the version of the project with schema 7 left: `OLD_RECORDS`. Never change it.

CREATE TABLE IF NOT EXISTS fullresult_schema (
    version integer PRIMARY KEY,
    applied text NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- One row per task. The columns of an outcome, of a message and of a start stand or fall together,
-- by the stamp before them.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00, JSON is text.
CREATE TABLE fullresult_task (
    task_id text PRIMARY KEY,
    date_created text NOT NULL,
    date_updated text NOT NULL,
    date_published text,

    outcome_stamp text,
    state text,
    open integer,
    retries integer,
    worker text,
    date_started text,
    date_done text,
    stale_from text,
    runtime real,
    result text,
    result_text text,
    result_form text,
    exception_type text,
    exception_message text,
    traceback text,
    children text,

    message_stamp text,
    name text,
    args text,
    kwargs text,
    embed text,
    body blob,
    content_type text,
    content_encoding text,
    headers text,
    properties text,
    exchange text,
    routing_key text,
    queue text,
    priority integer,
    eta text,
    expires text,
    root_id text,
    parent_id text,
    group_id text,
    retry_of text,
    notes text,

    start_stamp text,
    start_worker text,
    start_date text,

    -- Where a record is looked for that did not simply succeed. Generated, so that a state that
    -- changes within one bucket (PENDING, STARTED) changes no index.
    bucket text GENERATED ALWAYS AS
        (CASE WHEN open THEN 'OPEN' WHEN state <> 'SUCCESS' THEN state END) STORED
);

CREATE TABLE fullresult_execution (
    task_id text NOT NULL,
    stamp text NOT NULL,
    retries integer NOT NULL,
    state text NOT NULL,
    worker text,
    date_started text,
    date_done text,
    exception_type text,
    exception_message text,
    traceback text,
    PRIMARY KEY (task_id, stamp)
) WITHOUT ROWID;

-- Differs from postgresql: no index on arguments; those of fullresult_index_kwargs are made by setup.
CREATE INDEX fullresult_task_created ON fullresult_task (date_created, task_id);

CREATE INDEX fullresult_task_bucket ON fullresult_task (bucket, date_created, task_id)
    WHERE bucket IS NOT NULL;

CREATE INDEX fullresult_task_name ON fullresult_task (name, date_created, task_id);

CREATE INDEX fullresult_task_root ON fullresult_task (root_id, date_created)
    WHERE root_id <> task_id;

CREATE INDEX fullresult_task_group ON fullresult_task (group_id, date_created)
    WHERE group_id IS NOT NULL;

CREATE INDEX fullresult_task_retry_of ON fullresult_task (retry_of)
    WHERE retry_of IS NOT NULL;

-- What waits in the storage until it is due: one row per message, gone when it is sent.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00, and indexes cost less.
CREATE TABLE fullresult_schedule (
    schedule_id text PRIMARY KEY,
    task_id text NOT NULL,
    namespace text NOT NULL,
    due text NOT NULL,
    date_scheduled text NOT NULL,
    name text,
    queue text,
    body blob NOT NULL,
    headers text NOT NULL,
    how text NOT NULL,
    new_task_id text,
    claim text,
    date_claimed text,
    problem text,

    -- Not null: nothing but a mark that no schedule of this id is to be kept any more.
    date_withdrawn text
);

CREATE INDEX fullresult_schedule_waiting ON fullresult_schedule (namespace, due, schedule_id)
    WHERE claim IS NULL AND date_withdrawn IS NULL;

CREATE INDEX fullresult_schedule_claimed ON fullresult_schedule (due, schedule_id)
    WHERE claim IS NOT NULL;

CREATE INDEX fullresult_schedule_due ON fullresult_schedule (due, schedule_id);

CREATE INDEX fullresult_schedule_task ON fullresult_schedule (task_id);

CREATE INDEX fullresult_schedule_withdrawn ON fullresult_schedule (date_withdrawn)
    WHERE date_withdrawn IS NOT NULL;

-- When a sweeper of each namespace was last at work.
CREATE TABLE fullresult_sweep (
    namespace text PRIMARY KEY,
    at text NOT NULL
) WITHOUT ROWID;

-- What a result backend was given: its columns stand or fall together, by their stamp. And when a
-- record may be deleted, which is a part of its outcome.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00.
ALTER TABLE fullresult_task ADD COLUMN stored_stamp text;

ALTER TABLE fullresult_task ADD COLUMN stored_body blob;

ALTER TABLE fullresult_task ADD COLUMN stored_content_type text;

ALTER TABLE fullresult_task ADD COLUMN stored_content_encoding text;

ALTER TABLE fullresult_task ADD COLUMN expire_at text;

CREATE INDEX fullresult_task_expire ON fullresult_task (expire_at)
    WHERE expire_at IS NOT NULL;

-- What a result backend keeps beside records: groups that were saved, ...
CREATE TABLE fullresult_group (
    group_id text PRIMARY KEY,
    value blob NOT NULL,
    expire_at text
);

CREATE INDEX fullresult_group_expire ON fullresult_group (expire_at)
    WHERE expire_at IS NOT NULL;

-- ... how many members of a chord have ended, and which. Whoever adds a member adds it up.
CREATE TABLE fullresult_chord (
    chord_id text PRIMARY KEY,
    joined integer NOT NULL,
    -- Of the latest of the members that count: when their number is complete, of the last.
    last_call text NOT NULL,
    expire_at text
) WITHOUT ROWID;

CREATE INDEX fullresult_chord_expire ON fullresult_chord (expire_at)
    WHERE expire_at IS NOT NULL;

CREATE TABLE fullresult_chord_member (
    chord_id text NOT NULL,
    member text NOT NULL,
    PRIMARY KEY (chord_id, member)
) WITHOUT ROWID;

-- Which workers are alive: one row for each time that one was started.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00.
CREATE TABLE fullresult_worker (
    worker_id text PRIMARY KEY,
    name text NOT NULL,
    date_started text NOT NULL,
    date_seen text NOT NULL,
    alive_until text NOT NULL,
    date_stopped text
) WITHOUT ROWID;

-- What people did, who and when.
CREATE TABLE fullresult_audit (
    entry_id text PRIMARY KEY,
    at text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    -- JSON
    task_ids text NOT NULL,
    details text NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX fullresult_audit_at ON fullresult_audit (at, entry_id);

CREATE INDEX fullresult_audit_actor ON fullresult_audit (actor, at, entry_id);

CREATE INDEX fullresult_audit_action ON fullresult_audit (action, at, entry_id);

-- What was done to each task.
-- Differs from postgresql: a trigger, for here no statement writes two tables.
CREATE TABLE fullresult_audit_task (
    task_id text NOT NULL,
    entry_id text NOT NULL,
    PRIMARY KEY (task_id, entry_id)
) WITHOUT ROWID;

CREATE TRIGGER fullresult_audit_kept AFTER INSERT ON fullresult_audit BEGIN
    INSERT OR IGNORE INTO fullresult_audit_task (task_id, entry_id)
    SELECT value, NEW.entry_id FROM json_each(NEW.task_ids); END;

-- Where a record is looked for that is open: an index of its own, of what a start does not change.
-- Not in postgresql, which asks whether a value in an index changed, and not whether it was set.
DROP INDEX fullresult_task_bucket;

CREATE INDEX fullresult_task_open ON fullresult_task (open, date_created, task_id)
    WHERE open = 1;

CREATE INDEX fullresult_task_bucket ON fullresult_task (bucket, date_created, task_id)
    WHERE bucket <> 'OPEN';

INSERT INTO fullresult_schema (version) VALUES (1);
INSERT INTO fullresult_schema (version) VALUES (2);
INSERT INTO fullresult_schema (version) VALUES (3);
INSERT INTO fullresult_schema (version) VALUES (4);
INSERT INTO fullresult_schema (version) VALUES (5);
INSERT INTO fullresult_schema (version) VALUES (6);
INSERT INTO fullresult_schema (version) VALUES (7);

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result, result_text, result_form, exception_type, exception_message, traceback, children, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding, headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id, group_id, retry_of, notes, start_stamp, start_worker, start_date)
VALUES ('old rich', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.005+00:00', '2026-01-31T12:00:00.004+00:00', '000000003680649add4493000000000a1', 'FAILURE', 0, 3, 'Wörker-1@höst', '2026-01-31T12:00:00.001+00:00', '2026-01-31T12:00:00.002+00:00', '2026-01-31T12:00:00.003+00:00', 0.1234567890123, '{"$set": {"a.b": [1, 2.5, null, true]}, "": "é\u4e2d \ud83d\ude00"}', 'NaN and 	 tabs,
 lines, ''quotes", \ and 🎉', 'json', 'shop.errors.Überlauf', '$money > 100 %; DROP TABLE fullresult_task; --', 'Traceback (most recent call last):
  File …
', '["a", ["g", ["b", "c"]]]', '000000000200649add4493000000000a1', 'магазин.задачи.оплатить', '[1, "two", {"three": 3.5}, null, true, 12345678901234567890]', '{"$inc": {"a.b.c": 1}, "": null, "é": "\u4e2d", "q\"uote": "it''s"}', '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}', X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF', 'application/json', 'utf-8', '{"id": "x", "argsrepr": "(1,)", "stamps": {"a$.b": ["c"]}}', '{"delivery_mode": 2, "priority": 7}', '', 'clé.de.routage', 'очередь', 7, '2026-01-31T12:01:00.000+00:00', '9999-12-31T23:59:59.999+00:00', 'root $.%_', 'parent', 'group', 'old', '{"args": "cut: 17 characters"}', '000000000400649add44933e8000000a1', 'Wörker-0@höst', '2026-01-31T12:00:00.001+00:00');

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, date_done, stale_from, message_stamp, name, kwargs)
VALUES ('old paid', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '0000000006A0649add449300000000000', 'SUCCESS', 0, 0, '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000200649add449300000000000', 'shop.pay', '{"order": 7}');

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, stale_from, message_stamp, name)
VALUES ('old open', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000400649add449300000000000', 'STARTED', 1, 0, '2026-01-31T12:00:00.000+00:00', '000000000200649add449300000000000', 'shop.pay');

INSERT INTO fullresult_task (task_id, date_created, date_updated, outcome_stamp, state, open, retries, date_done, stale_from)
VALUES ('old outcome', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000680649add449300000000000', 'FAILURE', 0, 0, '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00');

INSERT INTO fullresult_execution (task_id, stamp, retries, state, worker, date_started, date_done, exception_type, exception_message, traceback)
VALUES ('old rich', '000000002500649add4493000000000a1', 2, 'RETRY', 'Wörker-1@höst', '1970-01-01T00:00:00.000+00:00', '9999-12-31T23:59:59.999+00:00', 'ValueError', 'lines
and ''quotes" and \ and 中 🎉', 'Traceback …');

-- What the version of the project with schema 3 left: `OLD_RECORDS`. Never change it.

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

INSERT INTO fullresult_schema (version) VALUES (1);

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

INSERT INTO fullresult_schema (version) VALUES (2);

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

INSERT INTO fullresult_schema (version) VALUES (3);

INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime, result, result_text, result_form, exception_type, exception_message, traceback, children, message_stamp, name, args, kwargs, embed, body, content_type, content_encoding, headers, properties, exchange, routing_key, queue, priority, eta, expires, root_id, parent_id, group_id, retry_of, notes, start_stamp, start_worker, start_date)
VALUES ('old rich', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.005+00:00', '2026-01-31T12:00:00.004+00:00', '000000003680649add4493000000000a1', 'FAILURE', '0', '3', 'Wörker-1@höst', '2026-01-31T12:00:00.001+00:00', '2026-01-31T12:00:00.002+00:00', '2026-01-31T12:00:00.003+00:00', '0.1234567890123', '{"$set": {"a.b": [1, 2.5, null, true]}, "": "é\u4e2d \ud83d\ude00"}', 'NaN and 	 tabs,
 lines, ''quotes", \ and 🎉', 'json', 'shop.errors.Überlauf', '$money > 100 %; DROP TABLE fullresult_task; --', 'Traceback (most recent call last):
  File …
', '["a", ["g", ["b", "c"]]]', '000000000200649add4493000000000a1', 'магазин.задачи.оплатить', '[1, "two", {"three": 3.5}, null, true, 12345678901234567890]', '{"$inc": {"a.b.c": 1}, "": null, "é": "\u4e2d", "q\"uote": "it''s"}', '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}', x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'application/json', 'utf-8', '{"id": "x", "argsrepr": "(1,)", "stamps": {"a$.b": ["c"]}}', '{"delivery_mode": 2, "priority": 7}', '', 'clé.de.routage', 'очередь', '7', '2026-01-31T12:01:00.000+00:00', '9999-12-31T23:59:59.999+00:00', 'root $.%_', 'parent', 'group', 'old', '{"args": "cut: 17 characters"}', '000000000400649add44933e8000000a1', 'Wörker-0@höst', '2026-01-31T12:00:00.001+00:00');
INSERT INTO fullresult_execution (task_id, stamp, retries, state, worker, date_started, date_done, exception_type, exception_message, traceback)
VALUES ('old rich', '000000002500649add4493000000000a1', '2', 'RETRY', 'Wörker-1@höst', '1970-01-01T00:00:00.000+00:00', '9999-12-31T23:59:59.999+00:00', 'ValueError', 'lines
and ''quotes" and \ and 中 🎉', 'Traceback …');
INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, date_done, stale_from, message_stamp, name, kwargs)
VALUES ('old paid', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '0000000006A0649add449300000000000', 'SUCCESS', '0', '0', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000200649add449300000000000', 'shop.pay', '{"order": 7}');
INSERT INTO fullresult_task (task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries, stale_from, message_stamp, name)
VALUES ('old open', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000400649add449300000000000', 'STARTED', '1', '0', '2026-01-31T12:00:00.000+00:00', '000000000200649add449300000000000', 'shop.pay');
INSERT INTO fullresult_task (task_id, date_created, date_updated, outcome_stamp, state, open, retries, date_done, stale_from)
VALUES ('old outcome', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00', '000000000680649add449300000000000', 'FAILURE', '0', '0', '2026-01-31T12:00:00.000+00:00', '2026-01-31T12:00:00.000+00:00');

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

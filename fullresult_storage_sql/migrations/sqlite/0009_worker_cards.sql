-- What each worker says of itself, in JSON. Apart from the heartbeat, which would copy it each time.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00.
CREATE TABLE fullresult_worker_card (
    worker_id text PRIMARY KEY,
    date_written text NOT NULL,
    names_id text NOT NULL,
    card text NOT NULL
) WITHOUT ROWID;

-- The names of the tasks that workers know, in JSON: one row for all workers of one code.
CREATE TABLE fullresult_worker_names (
    names_id text PRIMARY KEY,
    date_noted text NOT NULL,
    names text NOT NULL
) WITHOUT ROWID;

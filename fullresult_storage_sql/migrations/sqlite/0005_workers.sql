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

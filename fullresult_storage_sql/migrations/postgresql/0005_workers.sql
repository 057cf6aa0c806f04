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

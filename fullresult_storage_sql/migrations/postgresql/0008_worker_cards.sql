-- What each worker says of itself, in JSON. Apart from the heartbeat, which would copy it each time.
CREATE TABLE fullresult_worker_card (
    worker_id text COLLATE "C" PRIMARY KEY,
    date_written timestamptz NOT NULL,
    names_id text COLLATE "C" NOT NULL,
    card text NOT NULL
);

-- The names of the tasks that workers know, in JSON: one row for all workers of one code.
CREATE TABLE fullresult_worker_names (
    names_id text COLLATE "C" PRIMARY KEY,
    date_noted timestamptz NOT NULL,
    names text NOT NULL
);

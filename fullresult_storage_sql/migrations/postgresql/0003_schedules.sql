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

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

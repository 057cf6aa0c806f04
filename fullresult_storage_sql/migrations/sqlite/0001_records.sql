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

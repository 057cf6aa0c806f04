-- Failures by their fingerprint, and the mark of tasks that were sent again after they ended.
ALTER TABLE fullresult_task
    ADD COLUMN fingerprint text COLLATE "C",
    ADD COLUMN resent text COLLATE "C";

-- What somebody decided about a group of failures. The groups themselves are rows of no table.
CREATE TABLE fullresult_failure (
    fingerprint text COLLATE "C" PRIMARY KEY,
    status text COLLATE "C" NOT NULL,
    date_decided timestamptz NOT NULL,
    until_time timestamptz,
    until_count integer,
    release text,
    actor text NOT NULL,
    note text NOT NULL
);

-- By their ends, for groups: the first, the last, and how many are not sent again.
CREATE INDEX fullresult_task_failure ON fullresult_task (fingerprint, date_done, task_id)
    INCLUDE (resent)
    WHERE fingerprint IS NOT NULL;

-- In the order of a listing.
CREATE INDEX fullresult_task_failure_created ON fullresult_task (fingerprint, date_created, task_id)
    WHERE fingerprint IS NOT NULL;

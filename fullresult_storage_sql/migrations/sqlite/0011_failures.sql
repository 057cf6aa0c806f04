-- Failures by their fingerprint, and the mark of tasks that were sent again after they ended.
ALTER TABLE fullresult_task ADD COLUMN fingerprint text;

ALTER TABLE fullresult_task ADD COLUMN resent text;

-- What somebody decided about a group of failures. The groups themselves are rows of no table.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00.
CREATE TABLE fullresult_failure (
    fingerprint text PRIMARY KEY,
    status text NOT NULL,
    date_decided text NOT NULL,
    until_time text,
    until_count integer,
    release text,
    actor text NOT NULL,
    note text NOT NULL
) WITHOUT ROWID;

-- By their ends, for groups: the first, the last, and how many are not sent again.
-- Differs from postgresql: an index has no INCLUDE.
CREATE INDEX fullresult_task_failure ON fullresult_task (fingerprint, date_done, task_id, resent)
    WHERE fingerprint IS NOT NULL;

-- In the order of a listing.
CREATE INDEX fullresult_task_failure_created ON fullresult_task (fingerprint, date_created, task_id)
    WHERE fingerprint IS NOT NULL;

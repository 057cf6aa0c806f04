-- Where a record is looked for that is open: an index of its own, of what a start does not change.
-- Not in postgresql, which asks whether a value in an index changed, and not whether it was set.
DROP INDEX fullresult_task_bucket;

CREATE INDEX fullresult_task_open ON fullresult_task (open, date_created, task_id)
    WHERE open = 1;

CREATE INDEX fullresult_task_bucket ON fullresult_task (bucket, date_created, task_id)
    WHERE bucket <> 'OPEN';

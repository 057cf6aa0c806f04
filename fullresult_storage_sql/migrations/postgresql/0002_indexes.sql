CREATE INDEX fullresult_task_created ON fullresult_task (date_created, task_id);

CREATE INDEX fullresult_task_bucket ON fullresult_task (bucket, date_created, task_id)
    WHERE bucket IS NOT NULL;

CREATE INDEX fullresult_task_name ON fullresult_task (name, date_created, task_id);

CREATE INDEX fullresult_task_arguments ON fullresult_task
    USING gin (kwargs jsonb_path_ops, args jsonb_path_ops)
    -- What is not yet in the index itself is read by each search: let it be little.
    WITH (gin_pending_list_limit = 512);

CREATE INDEX fullresult_task_root ON fullresult_task (root_id, date_created)
    WHERE root_id <> task_id;

CREATE INDEX fullresult_task_group ON fullresult_task (group_id, date_created)
    WHERE group_id IS NOT NULL;

CREATE INDEX fullresult_task_retry_of ON fullresult_task (retry_of)
    WHERE retry_of IS NOT NULL;

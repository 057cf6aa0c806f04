-- The index on arguments has no large ones: 200 kB of them make an index of 600 kB, and 1.9 MB of WAL.
-- The second index leads to those. Long bodies are not read for their length.
DROP INDEX IF EXISTS fullresult_task_arguments;

CREATE INDEX fullresult_task_small_arguments ON fullresult_task
    USING gin (kwargs jsonb_path_ops, args jsonb_path_ops)
    -- What is not yet in the index itself is read by each search: let it be little.
    WITH (gin_pending_list_limit = 512)
    WHERE COALESCE(octet_length(body), octet_length(args::text) + octet_length(kwargs::text), 0)
        <= 8192;

CREATE INDEX fullresult_task_large_arguments ON fullresult_task (date_created, task_id)
    WHERE COALESCE(octet_length(body), octet_length(args::text) + octet_length(kwargs::text), 0)
        > 8192;

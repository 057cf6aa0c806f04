-- Tells the planner how few arguments are large. Without it, it takes a third of them for large, and
-- reads a table of ten million rather than the two indexes on arguments. ANALYZE counts them.
CREATE STATISTICS fullresult_task_size
    ON (COALESCE(octet_length(body), octet_length(args::text) + octet_length(kwargs::text), 0))
    FROM fullresult_task;

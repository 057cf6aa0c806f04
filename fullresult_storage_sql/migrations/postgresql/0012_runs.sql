-- An id that is published twice has two runs, and each keeps its end. `again_stamp`: of the publishes
-- after the first, the first. `own_…`: the message of the run that the outcome is of. `lost_end`: the
-- success that the last write told, if a later outcome is known; the trigger makes it an entry.
ALTER TABLE fullresult_task
    ADD COLUMN again_stamp text COLLATE "C",
    ADD COLUMN own_stamp text COLLATE "C",
    ADD COLUMN own_message text,
    ADD COLUMN lost_end json;

-- A success writes no entry: most tasks have one run, and cost no second write. So when another outcome
-- takes its place in the row, it becomes one, whoever writes, workers of older versions included.
-- It runs as the owner of the tables: a role that may write records needs no more grants than before.
CREATE FUNCTION fullresult_keep_end() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    execution text := format('%I.fullresult_execution', TG_TABLE_SCHEMA);
BEGIN
    IF OLD.state = 'SUCCESS' AND OLD.outcome_stamp < NEW.outcome_stamp
        AND (OLD.date_started IS NOT NULL OR OLD.worker IS NOT NULL) THEN
        EXECUTE 'INSERT INTO ' || execution || ' (task_id, stamp, retries, state, worker, '
            'date_started, date_done) VALUES ($1, $2, $3, ''SUCCESS'', $4, $5, $6) '
            'ON CONFLICT DO NOTHING'
        USING OLD.task_id, OLD.outcome_stamp, OLD.retries, OLD.worker, OLD.date_started, OLD.date_done;
    END IF;
    IF NEW.lost_end IS NOT NULL THEN
        EXECUTE 'INSERT INTO ' || execution || ' (task_id, stamp, retries, state, worker, '
            'date_started, date_done) VALUES ($1, $2, $3, ''SUCCESS'', $4, $5, $6) '
            'ON CONFLICT DO NOTHING'
        USING NEW.task_id, NEW.lost_end->>0, (NEW.lost_end->>1)::integer, NEW.lost_end->>2,
            (NEW.lost_end->>3)::timestamptz, (NEW.lost_end->>4)::timestamptz;
    END IF;
    -- The newest 1,000 are read: the others would only grow.
    EXECUTE 'DELETE FROM ' || execution || ' WHERE task_id = $1 AND stamp < (SELECT stamp FROM '
        || execution || ' WHERE task_id = $1 ORDER BY stamp DESC LIMIT 1 OFFSET 999)'
    USING NEW.task_id;
    RETURN NULL;
END
$$;

-- Else any role could put it on a table of its own, and have its triggers run as the owner. A trigger
-- that is there fires for whoever writes.
REVOKE EXECUTE ON FUNCTION fullresult_keep_end() FROM PUBLIC;

CREATE TRIGGER fullresult_keep_end AFTER UPDATE ON fullresult_task FOR EACH ROW
WHEN (
    NEW.lost_end IS NOT NULL
    OR (OLD.state = 'SUCCESS' AND OLD.outcome_stamp < NEW.outcome_stamp)
)
EXECUTE FUNCTION fullresult_keep_end();

-- An id that is published twice has two runs, and each keeps its end. `again_stamp`: of the publishes
-- after the first, the first. `own_…`: the message of the run that the outcome is of. `lost_end`: the
-- success that the last write told, if a later outcome is known; the trigger makes it an entry.
ALTER TABLE fullresult_task ADD COLUMN again_stamp text;
ALTER TABLE fullresult_task ADD COLUMN own_stamp text;
ALTER TABLE fullresult_task ADD COLUMN own_message text;
ALTER TABLE fullresult_task ADD COLUMN lost_end text;

-- A success writes no entry: most tasks have one run, and cost no second write. So when another outcome
-- takes its place in the row, it becomes one, whoever writes, workers of older versions included.
CREATE TRIGGER fullresult_keep_end AFTER UPDATE OF outcome_stamp ON fullresult_task
WHEN OLD.state = 'SUCCESS' AND OLD.outcome_stamp < NEW.outcome_stamp
    AND (OLD.date_started IS NOT NULL OR OLD.worker IS NOT NULL)
BEGIN
    INSERT INTO fullresult_execution (task_id, stamp, retries, state, worker, date_started, date_done)
    VALUES (
        OLD.task_id, OLD.outcome_stamp, OLD.retries, 'SUCCESS', OLD.worker, OLD.date_started,
        OLD.date_done
    ) ON CONFLICT DO NOTHING; DELETE FROM fullresult_execution
    WHERE task_id = NEW.task_id AND stamp < (
        SELECT stamp FROM fullresult_execution WHERE task_id = NEW.task_id
        ORDER BY stamp DESC LIMIT 1 OFFSET 999
    ); END;

CREATE TRIGGER fullresult_keep_lost_end AFTER UPDATE OF lost_end ON fullresult_task
WHEN NEW.lost_end IS NOT NULL
BEGIN
    INSERT INTO fullresult_execution (task_id, stamp, retries, state, worker, date_started, date_done)
    VALUES (
        NEW.task_id, json_extract(NEW.lost_end, '$[0]'), json_extract(NEW.lost_end, '$[1]'), 'SUCCESS',
        json_extract(NEW.lost_end, '$[2]'), json_extract(NEW.lost_end, '$[3]'),
        json_extract(NEW.lost_end, '$[4]')
    ) ON CONFLICT DO NOTHING; DELETE FROM fullresult_execution
    WHERE task_id = NEW.task_id AND stamp < (
        SELECT stamp FROM fullresult_execution WHERE task_id = NEW.task_id
        ORDER BY stamp DESC LIMIT 1 OFFSET 999
    ); END;

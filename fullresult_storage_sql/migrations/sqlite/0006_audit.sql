-- What people did, who and when.
CREATE TABLE fullresult_audit (
    entry_id text PRIMARY KEY,
    at text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    -- JSON
    task_ids text NOT NULL,
    details text NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX fullresult_audit_at ON fullresult_audit (at, entry_id);

CREATE INDEX fullresult_audit_actor ON fullresult_audit (actor, at, entry_id);

CREATE INDEX fullresult_audit_action ON fullresult_audit (action, at, entry_id);

-- What was done to each task.
-- Differs from postgresql: a trigger, for here no statement writes two tables.
CREATE TABLE fullresult_audit_task (
    task_id text NOT NULL,
    entry_id text NOT NULL,
    PRIMARY KEY (task_id, entry_id)
) WITHOUT ROWID;

CREATE TRIGGER fullresult_audit_kept AFTER INSERT ON fullresult_audit BEGIN
    INSERT OR IGNORE INTO fullresult_audit_task (task_id, entry_id)
    SELECT value, NEW.entry_id FROM json_each(NEW.task_ids); END;

-- What people did, who and when.
CREATE TABLE fullresult_audit (
    entry_id text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    -- JSON
    task_ids text NOT NULL,
    details text NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX fullresult_audit_at ON fullresult_audit (at, entry_id);

CREATE INDEX fullresult_audit_actor ON fullresult_audit (actor, at, entry_id);

CREATE INDEX fullresult_audit_action ON fullresult_audit (action, at, entry_id);

-- What was done to each task.
CREATE TABLE fullresult_audit_task (
    task_id text COLLATE "C" NOT NULL,
    entry_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (task_id, entry_id)
);

-- The queues that somebody paused.
CREATE TABLE fullresult_pause (
    namespace text NOT NULL,
    queue text NOT NULL,
    since text NOT NULL,
    until text,
    actor text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (namespace, queue)
) WITHOUT ROWID;

-- The queues that somebody paused.
CREATE TABLE fullresult_pause (
    namespace text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz,
    actor text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (namespace, queue)
);

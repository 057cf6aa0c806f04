-- Replays: batches of re-sends that go on by themselves.
CREATE TABLE fullresult_replay (
    replay_id text PRIMARY KEY,
    namespace text NOT NULL,
    state text NOT NULL,
    date_created text NOT NULL,
    version integer NOT NULL,
    -- JSON
    about text NOT NULL
);

-- The tasks that each took. A task is taken once.
CREATE TABLE fullresult_replayed (
    task_id text PRIMARY KEY,
    replay_id text NOT NULL,
    position integer NOT NULL,
    new_id text NOT NULL,
    schedule_id text NOT NULL
) WITHOUT ROWID;

CREATE INDEX fullresult_replayed_position ON fullresult_replayed (replay_id, position);

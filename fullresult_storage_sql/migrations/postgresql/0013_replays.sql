-- Replays: batches of re-sends that go on by themselves.
CREATE TABLE fullresult_replay (
    replay_id text COLLATE "C" PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    date_created timestamptz NOT NULL,
    version bigint NOT NULL,
    -- JSON
    about text NOT NULL
);

-- The tasks that each took. A task is taken once.
CREATE TABLE fullresult_replayed (
    task_id text COLLATE "C" PRIMARY KEY,
    replay_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    new_id text COLLATE "C" NOT NULL,
    schedule_id text COLLATE "C" NOT NULL
);

CREATE INDEX fullresult_replayed_position ON fullresult_replayed (replay_id, position);

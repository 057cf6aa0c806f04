-- What a result backend was given: its columns stand or fall together, by their stamp. And when a
-- record may be deleted, which is a part of its outcome.
ALTER TABLE fullresult_task
    ADD COLUMN stored_stamp text COLLATE "C",
    ADD COLUMN stored_body bytea,
    ADD COLUMN stored_content_type text,
    ADD COLUMN stored_content_encoding text,
    ADD COLUMN expire_at timestamptz;

CREATE INDEX fullresult_task_expire ON fullresult_task (expire_at)
    WHERE expire_at IS NOT NULL;

-- What a result backend keeps beside records: groups that were saved, ...
CREATE TABLE fullresult_group (
    group_id text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    expire_at timestamptz
);

CREATE INDEX fullresult_group_expire ON fullresult_group (expire_at)
    WHERE expire_at IS NOT NULL;

-- ... how many members of a chord have ended, and which. Whoever adds a member adds it up.
CREATE TABLE fullresult_chord (
    chord_id text COLLATE "C" PRIMARY KEY,
    joined integer NOT NULL,
    -- Of the latest of the members that count: when their number is complete, of the last.
    last_call text NOT NULL,
    expire_at timestamptz
)
-- Counting changes no index, so that the row is updated in place.
WITH (fillfactor = 50);

CREATE INDEX fullresult_chord_expire ON fullresult_chord (expire_at)
    WHERE expire_at IS NOT NULL;

CREATE TABLE fullresult_chord_member (
    chord_id text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    PRIMARY KEY (chord_id, member)
);

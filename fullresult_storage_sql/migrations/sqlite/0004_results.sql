-- What a result backend was given: its columns stand or fall together, by their stamp. And when a
-- record may be deleted, which is a part of its outcome.
-- Differs from postgresql: dates are text such as 2026-01-31T12:00:00.000+00:00.
ALTER TABLE fullresult_task ADD COLUMN stored_stamp text;

ALTER TABLE fullresult_task ADD COLUMN stored_body blob;

ALTER TABLE fullresult_task ADD COLUMN stored_content_type text;

ALTER TABLE fullresult_task ADD COLUMN stored_content_encoding text;

ALTER TABLE fullresult_task ADD COLUMN expire_at text;

CREATE INDEX fullresult_task_expire ON fullresult_task (expire_at)
    WHERE expire_at IS NOT NULL;

-- What a result backend keeps beside records: groups that were saved, ...
CREATE TABLE fullresult_group (
    group_id text PRIMARY KEY,
    value blob NOT NULL,
    expire_at text
);

CREATE INDEX fullresult_group_expire ON fullresult_group (expire_at)
    WHERE expire_at IS NOT NULL;

-- ... how many members of a chord have ended, and which. Whoever adds a member adds it up.
CREATE TABLE fullresult_chord (
    chord_id text PRIMARY KEY,
    joined integer NOT NULL,
    -- Of the latest of the members that count: when their number is complete, of the last.
    last_call text NOT NULL,
    expire_at text
) WITHOUT ROWID;

CREATE INDEX fullresult_chord_expire ON fullresult_chord (expire_at)
    WHERE expire_at IS NOT NULL;

CREATE TABLE fullresult_chord_member (
    chord_id text NOT NULL,
    member text NOT NULL,
    PRIMARY KEY (chord_id, member)
) WITHOUT ROWID;

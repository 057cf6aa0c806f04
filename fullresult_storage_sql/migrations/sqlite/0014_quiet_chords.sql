-- When a chord that is not complete is looked at next, how many members it had the last time, and by
-- how many seconds that was put off because it had no new ones. Members that join leave all three.
ALTER TABLE fullresult_chord ADD COLUMN look_at text;

ALTER TABLE fullresult_chord ADD COLUMN looked integer NOT NULL DEFAULT 0;

ALTER TABLE fullresult_chord ADD COLUMN pause integer NOT NULL DEFAULT 0;

CREATE INDEX fullresult_chord_look_at ON fullresult_chord (look_at)
    WHERE look_at IS NOT NULL;

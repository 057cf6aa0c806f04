-- How many members a chord has, NULL until that is told, and how many were added since. A chord that
-- is applied again is in its next run. It is completed until somebody has sent its body.
ALTER TABLE fullresult_chord ADD COLUMN size integer;

ALTER TABLE fullresult_chord ADD COLUMN added integer NOT NULL DEFAULT 0;

ALTER TABLE fullresult_chord ADD COLUMN run integer NOT NULL DEFAULT 1;

ALTER TABLE fullresult_chord ADD COLUMN completed text;

CREATE INDEX fullresult_chord_completed ON fullresult_chord (completed)
    WHERE completed IS NOT NULL;

-- What to send when it is complete. Apart, for each member that is counted writes the chord's row.
CREATE TABLE fullresult_chord_body (
    chord_id text PRIMARY KEY,
    body text NOT NULL
) WITHOUT ROWID;

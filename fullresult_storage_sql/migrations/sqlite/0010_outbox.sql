-- What tells this database from every other that has our tables. Made once.
ALTER TABLE fullresult_schema ADD COLUMN identity text;

UPDATE fullresult_schema SET identity = lower(hex(randomblob(16))) WHERE version = 1;

-- NULL for a task that was in no outbox. Else 1 if it may rather be sent twice than not at all.
ALTER TABLE fullresult_schedule ADD COLUMN at_least_once integer;

-- What tells this database from every other that has our tables. Made once.
ALTER TABLE fullresult_schema ADD COLUMN identity uuid;

UPDATE fullresult_schema SET identity = gen_random_uuid() WHERE version = 1;

-- NULL for a task that was in no outbox. Else true if it may rather be sent twice than not at all.
ALTER TABLE fullresult_schedule ADD COLUMN at_least_once boolean;

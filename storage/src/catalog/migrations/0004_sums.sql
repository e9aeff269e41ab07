-- Version 4. See ../FORMAT.md, "Sums": every row of these tables has one; those that were there get theirs with this migration.
ALTER TABLE parts ADD COLUMN sum INTEGER;
ALTER TABLE wal_positions ADD COLUMN sum INTEGER;
ALTER TABLE publishes ADD COLUMN sum INTEGER;

-- +goose Up
-- What lists and charts need of a host, and in which write it came: who has read up
-- to a write asks for what came later.
ALTER TABLE host ADD COLUMN summary BYTEA;
ALTER TABLE host ADD COLUMN rev BIGINT NOT NULL DEFAULT 1;
CREATE INDEX host_rev ON host (rev, id);

-- How the classes of hosts changed, one row a change, in a hash chain.
CREATE TABLE class_change (
    n     BIGINT NOT NULL PRIMARY KEY,
    body  BYTEA NOT NULL,               -- JSON, as it was hashed
    hash  BYTEA NOT NULL                -- SHA-256 over the previous hash and the body
);

CREATE TRIGGER class_change_is_not_changed BEFORE UPDATE OR DELETE ON class_change FOR EACH ROW EXECUTE FUNCTION events_stay();
CREATE TRIGGER class_change_is_not_removed BEFORE TRUNCATE ON class_change EXECUTE FUNCTION events_stay();

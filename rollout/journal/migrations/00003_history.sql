-- +goose Up
-- What lists and charts need of a host, and in which write it came: who has read up
-- to a write asks for what came later.
ALTER TABLE host ADD COLUMN summary BLOB;
ALTER TABLE host ADD COLUMN rev INTEGER NOT NULL DEFAULT 1;
CREATE INDEX host_rev ON host (rev, id);

-- How the classes of hosts changed, one row a change, in a hash chain.
CREATE TABLE class_change (
    n     INTEGER NOT NULL PRIMARY KEY,
    body  BLOB NOT NULL,                -- JSON, as it was hashed
    hash  BLOB NOT NULL                 -- SHA-256 over the previous hash and the body
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER class_change_is_not_changed BEFORE UPDATE ON class_change BEGIN
    SELECT RAISE(ABORT, 'history is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER class_change_is_not_removed BEFORE DELETE ON class_change BEGIN
    SELECT RAISE(ABORT, 'history is never removed');
END;
-- +goose StatementEnd

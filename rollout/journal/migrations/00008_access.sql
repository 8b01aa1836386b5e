-- +goose Up
-- Who came in, who was refused, who left: one row each, in a hash chain.
CREATE TABLE access (
    n     INTEGER NOT NULL PRIMARY KEY,
    body  BLOB NOT NULL,                -- JSON, as it was hashed
    hash  BLOB NOT NULL                 -- SHA-256 over the previous hash and the body
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER access_is_not_changed BEFORE UPDATE ON access BEGIN
    SELECT RAISE(ABORT, 'the record of accesses is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER access_is_not_removed BEFORE DELETE ON access BEGIN
    SELECT RAISE(ABORT, 'the record of accesses is never removed');
END;
-- +goose StatementEnd

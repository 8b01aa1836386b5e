-- +goose Up
-- Who came in, who was refused, who left: one row each, in a hash chain.
CREATE TABLE access (
    n     BIGINT NOT NULL PRIMARY KEY,
    body  BYTEA NOT NULL,               -- JSON, as it was hashed
    hash  BYTEA NOT NULL                -- SHA-256 over the previous hash and the body
);

CREATE TRIGGER access_is_not_changed BEFORE UPDATE OR DELETE ON access FOR EACH ROW EXECUTE FUNCTION events_stay();
CREATE TRIGGER access_is_not_removed BEFORE TRUNCATE ON access EXECUTE FUNCTION events_stay();

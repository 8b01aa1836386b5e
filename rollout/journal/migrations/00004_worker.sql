-- +goose Up
-- Processes that work on hosts. A row without a fresh beat is of a dead one.
CREATE TABLE worker (
    id    TEXT NOT NULL PRIMARY KEY,
    zones TEXT NOT NULL,                -- JSON list
    beat  INTEGER NOT NULL              -- seconds since 1970, by the database's clock
) STRICT, WITHOUT ROWID;

-- +goose Up
-- How hosts stand to the state that campaigns left them in.
CREATE TABLE standing (
    host    TEXT NOT NULL PRIMARY KEY,
    open    INTEGER NOT NULL,           -- how many drifts have not ended
    body    BLOB NOT NULL               -- JSON of a Standing
) STRICT;
CREATE INDEX standing_open ON standing (host) WHERE open > 0;

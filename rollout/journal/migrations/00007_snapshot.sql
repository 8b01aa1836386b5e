-- +goose Up
-- The state of a campaign at a Seq, so that a replay need not begin at the first event. The chain vouches for it: the
-- event has the hash of the body.
CREATE TABLE snapshot (
    campaign TEXT NOT NULL PRIMARY KEY REFERENCES campaign (id),
    event    INTEGER NOT NULL,          -- seq of the event that has the hash
    body     BLOB NOT NULL
) STRICT;

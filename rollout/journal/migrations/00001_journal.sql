-- +goose Up
CREATE TABLE campaign (
    id      TEXT NOT NULL PRIMARY KEY,
    hash    TEXT NOT NULL,              -- of the plan
    created TEXT NOT NULL,              -- RFC 3339
    hosts   INTEGER NOT NULL,           -- how many the plan has
    zones   TEXT NOT NULL,              -- JSON list of the zones of its hosts
    last    TEXT NOT NULL,              -- kind of the last event that is about the campaign or a wave
    seq     INTEGER NOT NULL,           -- of the last event
    head    BLOB NOT NULL,              -- hash of the last event
    version INTEGER NOT NULL            -- seq of the last decision or person's word
) STRICT, WITHOUT ROWID;

-- The truth. A plan is the data of its campaign's first event.
CREATE TABLE event (
    campaign TEXT NOT NULL REFERENCES campaign (id),
    seq      INTEGER NOT NULL,
    host     TEXT NOT NULL,
    body     BLOB NOT NULL,             -- JSON, as it was hashed
    hash     BLOB NOT NULL,             -- SHA-256 over the previous hash and the body
    PRIMARY KEY (campaign, seq)
) STRICT;

CREATE INDEX event_host ON event (campaign, host, seq) WHERE host <> '';

-- +goose StatementBegin
CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER event_is_not_removed BEFORE DELETE ON event BEGIN
    SELECT RAISE(ABORT, 'events are never removed');
END;
-- +goose StatementEnd

-- Drawn from the events, in the transaction that writes them.
CREATE TABLE host_run (
    campaign TEXT NOT NULL REFERENCES campaign (id),
    host     TEXT NOT NULL,
    attempt  INTEGER NOT NULL,          -- the fence
    running  TEXT NOT NULL,             -- the action; empty when nobody works on it
    step     TEXT NOT NULL,             -- that started and has no end
    wave     INTEGER NOT NULL,
    outcome  TEXT NOT NULL,             -- of the last action that ended
    reason   TEXT NOT NULL,
    class    TEXT NOT NULL,             -- coverage as last seen
    image    INTEGER NOT NULL,          -- seq of the event with the before-image; 0 when there is none
    zone     TEXT,                      -- of the running action's job; null when it has none
    at       TEXT NOT NULL,             -- of the last event, RFC 3339
    PRIMARY KEY (campaign, host)
) STRICT, WITHOUT ROWID;

CREATE INDEX host_run_outcome ON host_run (campaign, outcome, running);

-- What is known of hosts, in and outside of campaigns.
CREATE TABLE host (
    id       TEXT NOT NULL PRIMARY KEY,
    class    TEXT NOT NULL,
    seen     TEXT NOT NULL,             -- RFC 3339
    body     BLOB NOT NULL              -- JSON of a Record
) STRICT;

-- +goose Up
CREATE TABLE campaign (
    id      TEXT NOT NULL PRIMARY KEY,
    hash    TEXT NOT NULL,              -- of the plan
    created TEXT NOT NULL,              -- RFC 3339
    hosts   BIGINT  NOT NULL,           -- how many the plan has
    zones   TEXT NOT NULL,              -- JSON list of the zones of its hosts
    last    TEXT NOT NULL,              -- kind of the last event that is about the campaign or a wave
    seq     BIGINT  NOT NULL,           -- of the last event
    head    BYTEA NOT NULL,              -- hash of the last event
    version BIGINT  NOT NULL            -- seq of the last decision or person's word
);

-- The truth. A plan is the data of its campaign's first event.
CREATE TABLE event (
    campaign TEXT NOT NULL REFERENCES campaign (id),
    seq      BIGINT  NOT NULL,
    host     TEXT NOT NULL,
    body     BYTEA NOT NULL,             -- JSON, as it was hashed
    hash     BYTEA NOT NULL,             -- SHA-256 over the previous hash and the body
    PRIMARY KEY (campaign, seq)
);

CREATE INDEX event_host ON event (campaign, host, seq) WHERE host <> '';

-- +goose StatementBegin
CREATE FUNCTION events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are never changed or removed';
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_is_not_changed BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION events_stay();
CREATE TRIGGER event_is_not_removed BEFORE TRUNCATE ON event EXECUTE FUNCTION events_stay();

-- Drawn from the events, in the transaction that writes them.
CREATE TABLE host_run (
    campaign TEXT NOT NULL REFERENCES campaign (id),
    host     TEXT NOT NULL,
    attempt  BIGINT  NOT NULL,          -- the fence
    running  TEXT NOT NULL,             -- the action; empty when nobody works on it
    step     TEXT NOT NULL,             -- that started and has no end
    wave     BIGINT  NOT NULL,
    outcome  TEXT NOT NULL,             -- of the last action that ended
    reason   TEXT NOT NULL,
    class    TEXT NOT NULL,             -- coverage as last seen
    image    BIGINT  NOT NULL,          -- seq of the event with the before-image; 0 when there is none
    zone     TEXT,                      -- of the running action's job; null when it has none
    at       TEXT NOT NULL,             -- of the last event, RFC 3339
    PRIMARY KEY (campaign, host)
);

CREATE INDEX host_run_outcome ON host_run (campaign, outcome, running);

-- What is known of hosts, in and outside of campaigns.
CREATE TABLE host (
    id       TEXT NOT NULL PRIMARY KEY,
    class    TEXT NOT NULL,
    seen     TEXT NOT NULL,             -- RFC 3339
    body     BYTEA NOT NULL              -- JSON of a Record
);

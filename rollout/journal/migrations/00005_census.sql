-- +goose Up
-- Who was connected to a host's WinRM ports, over all looks at it.
CREATE TABLE census (
    host    TEXT NOT NULL PRIMARY KEY,
    body    BLOB NOT NULL               -- JSON of a Census
) STRICT;

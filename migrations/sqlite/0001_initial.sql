-- +goose Up

-- Every event, in the order of commits: there is one writer at a time, so
-- nothing ever appears below a position that was read. AUTOINCREMENT, since a
-- plain INTEGER PRIMARY KEY would hand the last position out again after a
-- delete, and readers would skip the new event.
--
-- The primary key is the position, which only grows, so rows are appended to
-- the end of the tree; a stream is read through the unique index, which also
-- keeps a stream from having two events of one version whatever the program
-- does. (A primary key of (type, id, version) WITHOUT ROWID would move whole
-- payloads about in the tree, and cannot be AUTOINCREMENT.)
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    type     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    version  INTEGER NOT NULL CHECK (version > 0),
    batch    BLOB,             -- of the first event that a batch appended to the stream, 16 bytes; else NULL
    time     INTEGER NOT NULL, -- microseconds since 1970, UTC
    name     TEXT    NOT NULL,
    schema   INTEGER NOT NULL,
    codec    TEXT    NOT NULL,
    data     BLOB    NOT NULL,
    metadata TEXT,             -- a flat JSON object; NULL if there is none
    UNIQUE (type, id, version)
) STRICT;

-- The gate: an append passes if the version here is the expected one, and
-- moves it in the same transaction. Rows are small, so the key is the table.
CREATE TABLE heads (
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    batch   BLOB    NOT NULL, -- that wrote the version
    PRIMARY KEY (type, id)
) STRICT, WITHOUT ROWID;

-- Snapshots and replies can be large, so both have a rowid and a unique index
-- beside it: large rows make a WITHOUT ROWID tree deep.
CREATE TABLE snapshots (
    number      INTEGER PRIMARY KEY,
    type        TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    schema      INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL, -- 64 bits, as a signed number
    codec       TEXT    NOT NULL,
    data        BLOB    NOT NULL,
    time        INTEGER NOT NULL,
    UNIQUE (type, id)
) STRICT;

CREATE TABLE receipts (
    number  INTEGER PRIMARY KEY,
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    command TEXT    NOT NULL,
    batch   BLOB    NOT NULL,
    version INTEGER NOT NULL, -- 64 bits, as a signed number
    codec   TEXT    NOT NULL,
    reply   BLOB    NOT NULL,
    time    INTEGER NOT NULL,
    stored  INTEGER NOT NULL, -- microseconds since 1970: the age that retention goes by
    UNIQUE (type, id, command)
) STRICT;

CREATE INDEX receipts_by_age ON receipts (stored);

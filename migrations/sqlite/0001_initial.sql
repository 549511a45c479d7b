-- +goose Up

-- Every event, in the order of commits: there is one writer at a time, so
-- nothing ever appears below a position that was read. AUTOINCREMENT, since a
-- plain INTEGER PRIMARY KEY would hand the last position out again after a
-- delete, and readers would skip the new event.
--
-- The primary key is the position, which only grows, so rows are appended to
-- the end of the tree; a stream is read through the unique index, which also
-- keeps a stream from having two events of one version whatever the program
-- does. Ids come before types in all keys: there are few types, and SQLite
-- compares by the first column alone where it can. (A primary key of (id, type,
-- version) WITHOUT ROWID would move whole payloads about in the tree, and cannot
-- be AUTOINCREMENT.) Slices have no index: one more tree costs every commit more
-- than skipping rows costs a reader.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    slice    INTEGER NOT NULL, -- of the stream, 0 to 1023
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
    UNIQUE (id, type, version)
) STRICT;

-- The gate: an append passes if the version here is the expected one, and
-- moves it in the same transaction. Rows are small, so the key is the table.
CREATE TABLE heads (
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    first   INTEGER NOT NULL, -- the version that replay begins with: 1, or that of the last truncation
    PRIMARY KEY (id, type)
) STRICT, WITHOUT ROWID;

-- Streams that a truncation left events of which nobody deleted yet.
CREATE TABLE truncated (
    type  TEXT    NOT NULL,
    id    TEXT    NOT NULL,
    first INTEGER NOT NULL, -- events below it may go
    PRIMARY KEY (id, type)
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
    UNIQUE (id, type)
) STRICT;

-- Receipts of commands and of messages. A message's has no type, which no
-- stream lacks, and its consumer as id. Numbers are never given out again: they
-- grow with age, so the oldest are found without an index of their own, and a
-- process that knows all up to one only reads those behind it.
--
-- That a command has one receipt is not up to a constraint: an index that takes
-- each receipt at once costs as much as all else that a command writes. Who
-- stores one looks for it under the lock of its writing transaction, in the
-- index and among the newest receipts.
CREATE TABLE receipts (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    key     INTEGER NOT NULL, -- 64 bits of a hash of type, id and command, as a signed number
    type    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    command TEXT    NOT NULL, -- or message
    batch   BLOB,             -- NULL if the batch wrote events, which have it
    version INTEGER NOT NULL, -- 64 bits, as a signed number
    codec   TEXT    NOT NULL,
    reply   BLOB    NOT NULL,
    time    INTEGER NOT NULL,
    stored  INTEGER NOT NULL  -- microseconds since 1970: the age that retention goes by
) STRICT;

-- The index of receipts. It gets some hundred at once, which are close together.
-- What it has of rows that were deleted goes later.
CREATE TABLE receipt_keys (
    key    INTEGER NOT NULL,
    number INTEGER NOT NULL, -- several with one key are possible: rows say which is meant
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;

-- For each slice, a 256th of all keys, which receipts the index has.
CREATE TABLE receipts_indexed (
    slice   INTEGER PRIMARY KEY, -- from the lowest keys, 0, to the highest, 255
    number  INTEGER NOT NULL,    -- it has all up to this one
    cleaned INTEGER NOT NULL     -- and none below this one that are deleted
) STRICT;

WITH RECURSIVE slices (slice) AS (VALUES (0) UNION ALL SELECT slice + 1 FROM slices WHERE slice < 255)
INSERT INTO receipts_indexed SELECT slice, 0, 0 FROM slices;

-- Messages that nobody has published yet; a row is deleted once that was done.
-- Positions are never given out again. One that cannot be published is parked: set
-- aside until somebody orders what becomes of it.
CREATE TABLE outbox (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    slot           INTEGER NOT NULL, -- of the ordering key, 0 to 1023
    message        TEXT    NOT NULL UNIQUE, -- the id
    kind           INTEGER NOT NULL, -- 1 event, 2 command
    name           TEXT    NOT NULL,
    destination    TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    content_type   TEXT    NOT NULL,
    codec          TEXT    NOT NULL,
    data           BLOB    NOT NULL,
    time           INTEGER NOT NULL,
    source_type    TEXT    NOT NULL, -- empty without a source
    source_id      TEXT    NOT NULL,
    source_version INTEGER NOT NULL, -- 64 bits, as a signed number
    metadata       TEXT,
    parked         INTEGER,          -- when it was set aside, microseconds since 1970; NULL if it was not
    reason         TEXT,             -- why
    attempts       INTEGER,          -- how often publishing it failed
    behind         INTEGER,          -- 1: it waits behind another parked one of its ordering key
    ordered        INTEGER           -- 1 publish it, 2 delete it; the dispatcher of its slot does so
) STRICT;

CREATE INDEX outbox_parked ON outbox (position) WHERE parked IS NOT NULL;

-- Who may publish the messages of which slots, from first and up but not last,
-- and until when by the machine's clock. No two leases that last have a slot in
-- common but those of one token; a lease of no slots says that a dispatcher is
-- there.
CREATE TABLE outbox_leases (
    token TEXT    NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    owner TEXT    NOT NULL,
    until INTEGER NOT NULL, -- microseconds since 1970
    PRIMARY KEY (token, first, last)
) STRICT, WITHOUT ROWID;

-- Batches that are stored and have neither an event nor a receipt that says
-- so, because they wrote only messages or rows, or because the event was
-- deleted. Kept as long as receipts are.
CREATE TABLE batches (
    number INTEGER PRIMARY KEY,
    batch  BLOB    NOT NULL UNIQUE,
    stored INTEGER NOT NULL
) STRICT;

-- Leases on names, see package lock: who holds a name, and until when by the
-- machine's clock. One that has ended is free, whether or not it was swept.
CREATE TABLE locks (
    key   TEXT    PRIMARY KEY,
    token TEXT    NOT NULL,
    until INTEGER NOT NULL -- microseconds since 1970
) STRICT;

-- +goose Up

-- Names, ids and commands compare byte by byte (COLLATE "C"): every process
-- sorts them alike, and whoever locks several rows locks them in that order.
--
-- Ids come before types in all keys: there are few types, and a comparison that
-- the first column decides is half of one.

-- Every event. Readers go by (xid, position): positions are given out before
-- the commit, so a lower one may appear after a higher one was read, but all of
-- a transaction's rows carry its number, and what is below every transaction
-- that still runs is complete.
--
-- xid is the number of the transaction that stored the row. A dump that is
-- restored into another server carries numbers which that server has yet to
-- reach; opening the journal then adds an offset to this default, and to
-- settings.xid_offset, so that what is stored next lies behind.
--
-- cache 1: a session that reserved positions would use them late.
CREATE TABLE events (
    position bigint      NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 1),
    xid      bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    type     text        NOT NULL COLLATE "C",
    id       text        NOT NULL COLLATE "C",
    version  bigint      NOT NULL CHECK (version > 0),
    slice    smallint    NOT NULL, -- of the stream: FNV-1a of type, a zero byte, and id, modulo 1024
    batch    bytea,                -- of the first event that a batch appended to the stream, 16 bytes; else NULL
    time     timestamptz NOT NULL,
    name     text        NOT NULL,
    schema   bigint      NOT NULL,
    codec    text        NOT NULL,
    data     bytea       NOT NULL,
    metadata text,                 -- a flat JSON object; NULL if there is none
    PRIMARY KEY (id, type, version)
);

CREATE INDEX events_by_position ON events (xid, position);

-- The gate: an append passes if the version here is the expected one, and
-- moves it in the same transaction. A row of version 0 is a stream that does
-- not exist: it was locked to make sure of that.
--
-- Every append updates its row, so pages keep room for the new row beside the
-- old one, and no index changes.
CREATE TABLE heads (
    type    text   NOT NULL COLLATE "C",
    id      text   NOT NULL COLLATE "C",
    version bigint NOT NULL,
    events  bigint NOT NULL,           -- how many the last append wrote: version minus events was expected
    batch   bytea  NOT NULL,           -- that wrote the version
    first   bigint NOT NULL DEFAULT 1, -- version that replay begins with: a truncation moves it
    kept    bigint NOT NULL DEFAULT 1, -- lowest version that may still be stored: scavenging moves it
    PRIMARY KEY (id, type)
) WITH (fillfactor = 50);

CREATE INDEX heads_to_scavenge ON heads (type, id) WHERE kept < first;

CREATE TABLE snapshots (
    type        text        NOT NULL COLLATE "C",
    id          text        NOT NULL COLLATE "C",
    version     bigint      NOT NULL CHECK (version > 0),
    schema      bigint      NOT NULL,
    fingerprint bigint      NOT NULL, -- 64 bits, as a signed number
    codec       text        NOT NULL,
    data        bytea       NOT NULL,
    time        timestamptz NOT NULL,
    PRIMARY KEY (id, type)
) WITH (fillfactor = 70);

-- What a command answered, so that its repetition is answered alike.
CREATE TABLE receipts (
    type    text        NOT NULL COLLATE "C",
    id      text        NOT NULL COLLATE "C",
    command text        NOT NULL COLLATE "C",
    batch   bytea,                -- 16 bytes; NULL if the batch wrote events, which have it
    version bigint      NOT NULL, -- 64 bits, as a signed number
    codec   text        NOT NULL,
    reply   bytea       NOT NULL,
    time    timestamptz NOT NULL,
    stored  bigint      NOT NULL, -- microseconds since 1970: the age that retention goes by
    PRIMARY KEY (id, type, command)
);

CREATE INDEX receipts_by_age ON receipts (stored);

-- Which messages had their effect on which consumer.
CREATE TABLE inbox (
    consumer text        NOT NULL COLLATE "C",
    message  text        NOT NULL COLLATE "C",
    batch    bytea,                -- 16 bytes; NULL if the batch wrote events, which have it
    version  bigint      NOT NULL, -- 64 bits, as a signed number
    codec    text        NOT NULL,
    reply    bytea       NOT NULL,
    time     timestamptz NOT NULL,
    stored   bigint      NOT NULL,
    PRIMARY KEY (consumer, message)
);

CREATE INDEX inbox_by_age ON inbox (stored);

-- Messages that are to be published; a row is deleted once that was done. Those
-- of one ordering key have positions in the order of their commits. One that
-- cannot be published is parked: set aside until somebody orders what becomes of
-- it.
CREATE TABLE outbox (
    position       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY (CACHE 1),
    slot           smallint    NOT NULL, -- FNV-1a of the ordering key, modulo 1024
    message        text        NOT NULL COLLATE "C" UNIQUE,
    kind           smallint    NOT NULL, -- 1 event, 2 command
    name           text        NOT NULL,
    destination    text        NOT NULL,
    key            text        NOT NULL,
    content_type   text        NOT NULL,
    codec          text        NOT NULL,
    data           bytea       NOT NULL,
    time           timestamptz NOT NULL,
    source_type    text        NOT NULL,
    source_id      text        NOT NULL,
    source_version bigint      NOT NULL, -- 64 bits, as a signed number
    metadata       text,                 -- a flat JSON object; NULL if there is none
    parked         timestamptz,          -- when it was set aside; NULL if it was not
    reason         text,                 -- why
    attempts       integer,              -- how often publishing it failed
    behind         boolean,              -- it waits behind another parked one of its ordering key
    ordered        smallint              -- 1 publish it, 2 delete it; the dispatcher of its slot does so
);

CREATE INDEX outbox_parked ON outbox (position) WHERE parked IS NOT NULL;

-- Who may publish the messages of which slots, from first and up but not last,
-- and until when by the server's clock. No two leases that last have a slot in
-- common but those of one token; a lease of no slots says that a dispatcher is
-- there.
CREATE TABLE outbox_leases (
    token text        NOT NULL COLLATE "C",
    first integer     NOT NULL,
    last  integer     NOT NULL,
    owner text        NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (token, first, last)
);

-- Batches that left neither an event nor a receipt to be known by, so that one
-- whose answer was lost can be submitted again.
CREATE TABLE batches (
    batch  bytea  PRIMARY KEY,
    stored bigint NOT NULL -- microseconds since 1970: the age that retention goes by
);

CREATE INDEX batches_by_age ON batches (stored);

-- One row. xid_offset is what the default of events.xid adds to the number of
-- the transaction.
CREATE TABLE settings (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    xid_offset bigint  NOT NULL
);

INSERT INTO settings (xid_offset) VALUES (0);

-- Leases on names, see package lock: who holds a name, and until when by the
-- server's clock. One that has ended is free, whether or not it was swept.
CREATE TABLE locks (
    key   text        PRIMARY KEY COLLATE "C",
    token text        NOT NULL COLLATE "C",
    until timestamptz NOT NULL
);

-- +goose Up

-- Names and keys compare byte by byte (COLLATE "C"), so an index finds them
-- whatever the database's language.

-- Every event, until every group has handled it and its time to be retained is
-- over. Whoever inserts holds an advisory lock of the namespace until its
-- commit, so positions appear in their order: a reader that goes by
-- "position > last" misses nothing, whatever else is open in the server.
CREATE TABLE bus_log (
    position       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY (CACHE 1),
    namespace      text        NOT NULL COLLATE "C",
    name           text        NOT NULL COLLATE "C",
    message        text        NOT NULL, -- id
    destination    text        NOT NULL,
    key            text        NOT NULL, -- of the message; empty means its source's id
    content_type   text        NOT NULL,
    codec          text        NOT NULL,
    data           bytea       NOT NULL,
    time           timestamptz,          -- NULL if it has none
    source_type    text        NOT NULL,
    source_id      text        NOT NULL,
    source_version bigint      NOT NULL, -- 64 bits, as a signed number
    metadata       text,                 -- a flat JSON object; NULL if there is none
    stored         timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX bus_log_by_namespace ON bus_log (namespace, position);

-- How far a group has handled the log, and which process of it does so, until
-- when: the others wait.
CREATE TABLE bus_offset (
    namespace text        NOT NULL COLLATE "C",
    grp       text        NOT NULL COLLATE "C",
    position  bigint      NOT NULL,
    token     text        NOT NULL,
    until     timestamptz NOT NULL,
    PRIMARY KEY (namespace, grp)
) WITH (fillfactor = 50);

-- Events that a group has yet to handle although its offset is past them: they
-- wait for another attempt, or behind one of their key that does, or were dead
-- letters and were sent again. The position is that in the log.
CREATE TABLE bus_pending (
    namespace      text        NOT NULL COLLATE "C",
    grp            text        NOT NULL COLLATE "C",
    position       bigint      NOT NULL,
    ordering_key   text        NOT NULL COLLATE "C",
    available      timestamptz NOT NULL, -- not before
    attempts       bigint      NOT NULL, -- made so far
    resent         boolean     NOT NULL,
    name           text        NOT NULL COLLATE "C",
    message        text        NOT NULL,
    destination    text        NOT NULL,
    key            text        NOT NULL,
    content_type   text        NOT NULL,
    codec          text        NOT NULL,
    data           bytea       NOT NULL,
    time           timestamptz,
    source_type    text        NOT NULL,
    source_id      text        NOT NULL,
    source_version bigint      NOT NULL,
    metadata       text,
    PRIMARY KEY (namespace, grp, position)
);

CREATE INDEX bus_pending_by_key ON bus_pending (namespace, grp, ordering_key, position);

-- Commands. One that is being handled has a token, and is available to others
-- once its lease has ended.
CREATE TABLE bus_queue (
    position       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    namespace      text        NOT NULL COLLATE "C",
    name           text        NOT NULL COLLATE "C",
    available      timestamptz NOT NULL DEFAULT now(),
    token          text,
    attempts       bigint      NOT NULL DEFAULT 0, -- begun so far
    resent         boolean     NOT NULL DEFAULT false,
    message        text        NOT NULL,
    destination    text        NOT NULL,
    key            text        NOT NULL,
    content_type   text        NOT NULL,
    codec          text        NOT NULL,
    data           bytea       NOT NULL,
    time           timestamptz,
    source_type    text        NOT NULL,
    source_id      text        NOT NULL,
    source_version bigint      NOT NULL,
    metadata       text
) WITH (fillfactor = 70);

CREATE INDEX bus_queue_by_namespace ON bus_queue (namespace, position);
CREATE INDEX bus_queue_by_token ON bus_queue (token) WHERE token IS NOT NULL;

-- What consumers set aside, and why.
CREATE TABLE bus_dead_letter (
    id             bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    namespace      text        NOT NULL COLLATE "C",
    grp            text        NOT NULL COLLATE "C",
    kind           smallint    NOT NULL, -- 1 event, 2 command
    position       bigint      NOT NULL, -- in the log or the queue
    ordering_key   text        NOT NULL COLLATE "C",
    reason         text        NOT NULL,
    attempts       bigint      NOT NULL,
    parked         boolean     NOT NULL,
    died           timestamptz NOT NULL,
    name           text        NOT NULL COLLATE "C",
    message        text        NOT NULL,
    destination    text        NOT NULL,
    key            text        NOT NULL,
    content_type   text        NOT NULL,
    codec          text        NOT NULL,
    data           bytea       NOT NULL,
    time           timestamptz,
    source_type    text        NOT NULL,
    source_id      text        NOT NULL,
    source_version bigint      NOT NULL,
    metadata       text
);

CREATE INDEX bus_dead_letter_by_group ON bus_dead_letter (namespace, grp, id);

-- +goose Up

-- Messages that are held back until a time: microseconds since 1970, and 0 for
-- those that are not. The dispatcher of its slot sets it to 0 when the time has
-- come; until then the row is neither pending nor parked.
ALTER TABLE outbox ADD COLUMN due INTEGER NOT NULL DEFAULT 0;

CREATE INDEX outbox_due ON outbox (due, position) WHERE due > 0;

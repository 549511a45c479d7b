package pgbus

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// messageColumns are those that every table has for a message, in the order of
// [columns] and [row].
const messageColumns = "name, message, destination, key, content_type, codec, data, time, source_type, source_id, source_version, metadata"

// statements are the texts of all statements, for one schema.
type statements struct {
	publish, send              string
	sweep                      string
	claim, ack, again, renew   string
	release, bury              string
	subscribe, acquire, keep   string
	leave                      string
	readPending, keys          string
	top, readLog               string
	deferRows, buryEvent       string
	letters, letter            string
	discard                    string
	resendCommand, resendEvent string
}

func makeStatements(schema string) statements {
	table := func(name string) string { return pgx.Identifier{schema, name}.Sanitize() }
	r := strings.NewReplacer(
		"{log}", table("bus_log"), "{offset}", table("bus_offset"), "{pending}", table("bus_pending"),
		"{queue}", table("bus_queue"), "{dead}", table("bus_dead_letter"), "{message}", messageColumns,
	)
	return statements{
		// The lock comes before any position is given out, and ends behind the
		// commit: the order of positions is that of commits. It is one
		// statement, so no frozen client can hold the lock.
		publish: r.Replace(`
			WITH gate AS MATERIALIZED (SELECT 1 FROM pg_advisory_xact_lock($14))
			INSERT INTO {log} (namespace, {message})
			SELECT $1, ` + unnested + `
			FROM gate, unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[], $10::text[], $11::text[], $12::bigint[], $13::text[])
				WITH ORDINALITY AS u (` + messageColumns + `, n)
			ORDER BY n`),
		send: r.Replace(`
			INSERT INTO {queue} (namespace, {message})
			SELECT $1, ` + unnested + `
			FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[], $10::text[], $11::text[], $12::bigint[], $13::text[])
				WITH ORDINALITY AS u (` + messageColumns + `, n)
			ORDER BY n`),
		sweep: r.Replace(`
			DELETE FROM {log} WHERE position IN (
				SELECT position FROM {log}
				WHERE namespace = $1 AND stored < now() - make_interval(secs => $2)
					AND position <= coalesce((SELECT min(position) FROM {offset} WHERE namespace = $1), 9223372036854775807)
				ORDER BY position LIMIT $3)`),

		// Commands. A claim is a lease: until it ends the command is not
		// available to others.
		claim: r.Replace(`
			WITH taken AS (
				UPDATE {queue} SET token = $3, attempts = attempts + 1, available = now() + make_interval(secs => $4)
				WHERE position IN (
					SELECT position FROM {queue}
					WHERE namespace = $1 AND name = ANY ($2) AND available <= now()
					ORDER BY position LIMIT $5 FOR UPDATE SKIP LOCKED)
				RETURNING position, attempts, resent, {message})
			SELECT * FROM taken ORDER BY position`),
		ack: r.Replace(`DELETE FROM {queue} WHERE position = ANY ($1) AND token = $2`),
		again: r.Replace(`
			UPDATE {queue} SET token = NULL, available = now() + make_interval(secs => $3)
			WHERE position = $1 AND token = $2`),
		renew: r.Replace(`UPDATE {queue} SET available = now() + make_interval(secs => $2) WHERE token = $1`),
		release: r.Replace(`
			UPDATE {queue} SET token = NULL, available = now(), attempts = attempts - 1 WHERE token = $1`),
		bury: r.Replace(`
			WITH dead AS (DELETE FROM {queue} WHERE position = $1 AND token = $2 RETURNING namespace, {message})
			INSERT INTO {dead} (kind, grp, position, ordering_key, reason, attempts, parked, died, namespace, {message})
			SELECT 2, $3, $1, $4, $5, $6, $7, $8, dead.* FROM dead`),

		// Events. One replica of a group at a time has the group's lease.
		subscribe: r.Replace(`
			INSERT INTO {offset} (namespace, grp, position, token, until) VALUES ($1, $2, 0, '', '-infinity')
			ON CONFLICT DO NOTHING`),
		acquire: r.Replace(`
			UPDATE {offset} SET token = $3, until = clock_timestamp() + make_interval(secs => $4)
			WHERE namespace = $1 AND grp = $2 AND (until < clock_timestamp() OR token = $3)
			RETURNING position`),
		keep: r.Replace(`
			WITH mine AS (
				UPDATE {offset} SET position = $4, until = clock_timestamp() + make_interval(secs => $5)
				WHERE namespace = $1 AND grp = $2 AND token = $3 RETURNING 1),
			done AS (
				DELETE FROM {pending} WHERE namespace = $1 AND grp = $2 AND position = ANY ($6) AND EXISTS (SELECT FROM mine))
			SELECT count(*) FROM mine`),
		leave: r.Replace(`
			UPDATE {offset} SET until = '-infinity', token = '' WHERE namespace = $1 AND grp = $2 AND token = $3`),
		keys: r.Replace(`SELECT DISTINCT ordering_key FROM {pending} WHERE namespace = $1 AND grp = $2`),
		readPending: r.Replace(`
			SELECT position, attempts, resent, {message} FROM {pending} p
			WHERE namespace = $1 AND grp = $2 AND available <= now() AND name = ANY ($3) AND position <> ALL ($4)
				AND ordering_key <> ALL ($5)
				AND (ordering_key = '' OR NOT EXISTS (
					SELECT FROM {pending} e
					WHERE e.namespace = $1 AND e.grp = $2 AND e.ordering_key = p.ordering_key AND e.position < p.position AND e.available > now()))
			ORDER BY position LIMIT $6`),
		// Every position up to the greatest visible one is visible: they are
		// committed in their order.
		top: r.Replace(`SELECT coalesce(max(position), 0) FROM {log} WHERE namespace = $1`),
		// Without an upper bound: with one the server takes the range for a small
		// one, reads and sorts all that is left, and returns the first page of it.
		readLog: r.Replace(`
			SELECT position, 0::bigint, false, {message} FROM {log}
			WHERE namespace = $1 AND position > $2 AND name = ANY ($3) ORDER BY position LIMIT $4`),
		deferRows: r.Replace(`
			INSERT INTO {pending} (namespace, grp, available, resent, position, ordering_key, attempts, {message})
			SELECT $1, $2, now() + make_interval(secs => $3), $4, $5, $6, $7,
				$8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19
			ON CONFLICT (namespace, grp, position) DO UPDATE SET available = excluded.available, attempts = excluded.attempts`),
		buryEvent: r.Replace(`
			WITH gone AS (DELETE FROM {pending} WHERE namespace = $1 AND grp = $2 AND position = $3)
			INSERT INTO {dead} (kind, namespace, grp, position, ordering_key, reason, attempts, parked, died, {message})
			SELECT 1, $1, $2, $3, $4, $5, $6, $7, $8,
				$9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20`),

		// Dead letters.
		letters: r.Replace(`
			SELECT id, kind, grp, reason, attempts, parked, died, {message} FROM {dead}
			WHERE namespace = $1 AND ($2 OR grp = $3) AND ($4 = '' OR name = $4) AND ($5 = '' OR ordering_key = $5)
				AND (parked OR NOT $6) AND id > $7
			ORDER BY id LIMIT $8`),
		letter: r.Replace(`
			SELECT id, kind, grp, reason, attempts, parked, died, {message} FROM {dead} WHERE namespace = $1 AND id = $2`),
		discard: r.Replace(`DELETE FROM {dead} WHERE namespace = $1 AND id = $2`),
		resendCommand: r.Replace(`
			WITH dead AS (DELETE FROM {dead} WHERE namespace = $1 AND id = $2 AND kind = 2 RETURNING namespace, {message})
			INSERT INTO {queue} (resent, namespace, {message}) SELECT true, dead.* FROM dead`),
		resendEvent: r.Replace(`
			WITH dead AS (
				DELETE FROM {dead} WHERE namespace = $1 AND id = $2 AND kind = 1
				RETURNING namespace, grp, position, ordering_key, {message})
			INSERT INTO {pending} (available, attempts, resent, namespace, grp, position, ordering_key, {message})
			SELECT now(), 0, true, dead.* FROM dead
			ON CONFLICT (namespace, grp, position) DO UPDATE SET available = now(), attempts = 0, resent = true`),
	}
}

const unnested = "u.name, u.message, u.destination, u.key, u.content_type, u.codec, u.data, u.time, u.source_type, u.source_id, u.source_version, u.metadata"

// columns are messages as arrays, one per column.
type columns struct {
	name, id, destination, key, contentType, codec, sourceType, sourceID []string

	data     [][]byte
	time     []pgtype.Timestamptz
	version  []int64
	metadata []pgtype.Text
}

func (c *columns) add(m *envelope.Message) error {
	metadata, err := metadataText(m)
	if err != nil {
		return err
	}
	c.name, c.id, c.destination, c.key = append(c.name, m.Name), append(c.id, m.ID), append(c.destination, m.Destination), append(c.key, m.Key)
	c.contentType, c.codec = append(c.contentType, m.ContentType), append(c.codec, m.Codec)
	c.sourceType, c.sourceID, c.version = append(c.sourceType, m.Source.Type), append(c.sourceID, m.Source.ID), append(c.version, int64(m.SourceVersion))
	c.data = append(c.data, dataOf(m))
	c.time, c.metadata = append(c.time, timeOf(m)), append(c.metadata, metadata)
	return nil
}

func (c *columns) args() []any {
	return []any{c.name, c.id, c.destination, c.key, c.contentType, c.codec, c.data, c.time, c.sourceType, c.sourceID, c.version, c.metadata}
}

// row are the columns of one message.
func row(m *envelope.Message) ([]any, error) {
	metadata, err := metadataText(m)
	return []any{m.Name, m.ID, m.Destination, m.Key, m.ContentType, m.Codec, dataOf(m), timeOf(m), m.Source.Type, m.Source.ID, int64(m.SourceVersion), metadata}, err
}

func metadataText(m *envelope.Message) (pgtype.Text, error) {
	if m.Metadata.IsZero() {
		return pgtype.Text{}, nil
	}
	text, err := json.Marshal(m.Metadata)
	return pgtype.Text{String: string(text), Valid: true}, err
}

// dataOf is never NULL.
func dataOf(m *envelope.Message) []byte {
	if m.Data == nil {
		return []byte{}
	}
	return m.Data
}

func timeOf(m *envelope.Message) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: m.Time, Valid: !m.Time.IsZero()}
}

// scanned is where the columns of one message are scanned to.
type scanned struct {
	message  envelope.Message
	time     pgtype.Timestamptz
	version  int64
	metadata pgtype.Text
}

func (s *scanned) targets(before ...any) []any {
	m := &s.message
	return append(before, &m.Name, &m.ID, &m.Destination, &m.Key, &m.ContentType, &m.Codec, &m.Data, &s.time, &m.Source.Type, &m.Source.ID, &s.version, &s.metadata)
}

// result is the message, and what is wrong with it if somebody else wrote it.
func (s *scanned) result(kind envelope.Kind) (envelope.Message, error) {
	m := s.message
	m.Kind, m.SourceVersion = kind, uint64(s.version)
	if s.time.Valid {
		m.Time = s.time.Time.In(time.UTC)
	}
	if s.metadata.Valid {
		if err := m.Metadata.UnmarshalJSON([]byte(s.metadata.String)); err != nil { // by json.Unmarshal it would be parsed twice
			return m, fmt.Errorf("%w: metadata: %w", bus.ErrMalformed, err)
		}
	}
	if err := m.Validate(); err != nil {
		return m, fmt.Errorf("%w: %w", bus.ErrMalformed, err)
	}
	return m, nil
}

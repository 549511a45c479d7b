package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"iter"
	"math"

	"github.com/troupe-go/troupe/envelope"
)

// Messages implements [journal.Journal]. It ends at the newest message at the
// time when the loop over it begins. Positions are in the order of commits,
// over all keys.
func (j *Journal) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		r := outboxReader{after: int64(min(after, math.MaxInt64)), left: wanted(limit)}
		for {
			if err := j.view(ctx, "read messages", r.readPage); err != nil {
				yield(envelope.StoredMessage{}, err)
				return
			}
			for i := range r.messages {
				if !yield(r.messages[i], nil) {
					return
				}
			}
			if len(r.messages) == 0 || r.left == 0 || r.after >= r.last {
				return
			}
		}
	}
}

const messageColumns = `position, slot, message, kind, name, destination, key, content_type, codec, data, time,
		source_type, source_id, source_version, metadata`

// outboxReader reads the outbox up to the newest position at its beginning.
type outboxReader struct {
	begun    bool
	after    int64 // what was read into messages or before
	last     int64
	left     int                      // how many more are wanted
	messages []envelope.StoredMessage // the page
}

func (r *outboxReader) readPage(ctx context.Context, s *session) error {
	r.messages = r.messages[:0:0] // the former page belongs to whoever got its messages
	if !r.begun {
		if _, err := s.row(ctx, "SELECT coalesce(max(position), 0) FROM outbox", nil, &r.last); err != nil {
			return err
		}
		r.begun = true
	}
	if r.after >= r.last {
		return nil
	}
	const query = "SELECT " + messageColumns + " FROM outbox WHERE position > ? AND position <= ? AND parked IS NULL AND due = 0 ORDER BY position LIMIT ?"
	bytes := 0
	return s.rows(ctx, query, []any{r.after, r.last, min(r.left, pageRecords)}, func(rows *sql.Rows) (bool, error) {
		var m envelope.StoredMessage
		if err := scanMessage(rows, &m); err != nil {
			return false, err
		}
		r.messages = append(r.messages, m)
		r.after = int64(m.Position)
		r.left--
		bytes += m.SizeBytes()
		return bytes < pageBytes, nil
	})
}

// scanMessage reads messageColumns into m, and what follows them into more.
func scanMessage(rows *sql.Rows, m *envelope.StoredMessage, more ...any) error {
	var position, micros, version int64
	var metadata sql.NullString
	if err := rows.Scan(append([]any{&position, &m.Slot, &m.ID, &m.Kind, &m.Name, &m.Destination, &m.Key, &m.ContentType, &m.Codec,
		&m.Data, &micros, &m.Source.Type, &m.Source.ID, &version, &metadata}, more...)...); err != nil {
		return err
	}
	m.Position, m.SourceVersion, m.Time = uint64(position), uint64(version), fromMicros(micros)
	if metadata.Valid {
		if err := json.Unmarshal([]byte(metadata.String), &m.Metadata); err != nil {
			return corrupt("metadata of message %s: %v", m.ID, err)
		}
	}
	return nil
}

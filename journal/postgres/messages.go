package postgres

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/troupe-go/troupe/envelope"
)

// Messages implements [journal.Journal], a page at a time.
func (j *Journal) Messages(ctx context.Context, after uint64, limit int) iter.Seq2[envelope.StoredMessage, error] {
	return func(yield func(envelope.StoredMessage, error) bool) {
		doing := fmt.Sprint("read messages behind ", after)
		left := math.MaxInt
		if limit > 0 {
			left = limit
		}
		for left > 0 && after < math.MaxInt64 {
			var page []envelope.StoredMessage
			err := j.read(ctx, doing, func(ctx context.Context, conn *pgx.Conn) (err error) {
				rows, err := conn.Query(ctx, j.sql.messages, int64(after), min(left, pageRecords), pageBytes)
				if err != nil {
					return err
				}
				page, err = scanMessages(rows)
				return err
			})
			if err != nil {
				yield(envelope.StoredMessage{}, typed(doing, err))
				return
			}
			if len(page) == 0 {
				return
			}
			for i := range page {
				if !yield(page[i], nil) {
					return
				}
			}
			left -= len(page)
			after = page[len(page)-1].Position
		}
	}
}

func scanMessages(rows pgx.Rows) (page []envelope.StoredMessage, err error) {
	defer rows.Close()
	for rows.Next() {
		var m envelope.StoredMessage
		if err := scanMessage(rows, &m); err != nil {
			return nil, err
		}
		page = append(page, m)
	}
	rows.Close()
	return page, rows.Err()
}

// scanMessage reads position and the outbox's columns into m, and what follows
// them into more.
func scanMessage(rows pgx.Rows, m *envelope.StoredMessage, more ...any) error {
	var position, sourceVersion int64
	var kind int16
	var metadata *string
	columns := [...]any{&position, &m.Slot, &m.ID, &kind, &m.Name, &m.Destination, &m.Key, &m.ContentType, &m.Codec,
		&m.Data, &m.Time, &m.Source.Type, &m.Source.ID, &sourceVersion, &metadata}
	if err := rows.Scan(append(columns[:], more...)...); err != nil {
		return err
	}
	m.Position, m.SourceVersion = uint64(position), uint64(sourceVersion)
	m.Kind, m.Time = envelope.Kind(kind), m.Time.UTC()
	return readMetadata(metadata, &m.Metadata, position)
}

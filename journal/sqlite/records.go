package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

const (
	recordColumns = "position, version, time, name, schema, codec, data, metadata"
	recordWidth   = 8

	// streamColumns may follow them.
	streamColumns = ", type, id"
	streamWidth   = 2
)

// records calls each for every record that query reads, until it says no. of is
// the stream of all of them, if query has no columns for it. Values come from the
// driver itself: database/sql, which looks at the types of each anew, takes a
// third of the time of reading a record. Nothing in a record shares memory with
// the driver.
func (s *session) records(ctx context.Context, query string, args []any, of envelope.Stream, each func(envelope.Record) (bool, error)) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	bound := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		if n, ok := arg.(int); ok {
			arg = int64(n)
		}
		bound[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return s.conn.Raw(func(conn any) (err error) {
		stmt, err := s.driverStmt(ctx, conn, query)
		if err != nil {
			return err
		}
		rows, err := stmt.QueryContext(ctx, bound)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		values := make([]driver.Value, len(rows.Columns()))
		for {
			if err := rows.Next(values); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			rec := envelope.Record{Stream: of}
			if err := takeRecord(values, &rec); err != nil {
				return err
			}
			if more, err := each(rec); err != nil || !more {
				return err
			}
		}
	})
}

// driverStatement is what a driver prepares.
type driverStatement interface {
	driver.Stmt
	driver.StmtQueryContext
}

// driverStmt prepares query, once per connection.
func (s *session) driverStmt(ctx context.Context, conn any, query string) (driverStatement, error) {
	if stmt, ok := s.driver[query]; ok {
		return stmt, nil
	}
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, fmt.Errorf("sqlite: a connection of type %T prepares nothing", conn)
	}
	prepared, err := preparer.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	stmt, ok := prepared.(driverStatement)
	if !ok {
		_ = prepared.Close() // it was not used
		return nil, fmt.Errorf("sqlite: a statement of type %T takes no context", prepared)
	}
	s.driver[query] = stmt
	return stmt, nil
}

// takeRecord reads the values of recordColumns, and of streamColumns if there are
// more.
func takeRecord(v []driver.Value, rec *envelope.Record) error {
	if len(v) != recordWidth && len(v) != recordWidth+streamWidth {
		return corrupt("a row of events has %d columns", len(v))
	}
	var position, version, micros, schema int64
	for i, into := range [...]*int64{0: &position, 1: &version, 2: &micros, 4: &schema} {
		if into == nil {
			continue
		}
		n, ok := v[i].(int64)
		if !ok {
			return corrupt("column %d of a row of events is a %T", i, v[i])
		}
		*into = n
	}
	texts := [...]*string{3: &rec.Name, 5: &rec.Codec, 8: &rec.Stream.Type, 9: &rec.Stream.ID}
	for i := range len(v) {
		if into := texts[i]; into != nil {
			text, ok := v[i].(string)
			if !ok {
				return corrupt("column %d of a row of events is a %T", i, v[i])
			}
			*into = text
		}
	}
	rec.Position = journal.Position{Seq: uint64(position)}
	rec.Version, rec.Schema, rec.Time = uint64(version), uint32(schema), fromMicros(micros)
	data, ok := v[6].([]byte)
	if !ok && v[6] != nil {
		return corrupt("the data at position %d is a %T", position, v[6])
	}
	rec.Data = append(make([]byte, 0, len(data)), data...)
	switch metadata := v[7].(type) {
	case nil:
	case string:
		if err := json.Unmarshal([]byte(metadata), &rec.Metadata); err != nil {
			return corrupt("metadata at position %d: %v", position, err)
		}
	default:
		return corrupt("the metadata at position %d is a %T", position, metadata)
	}
	return nil
}

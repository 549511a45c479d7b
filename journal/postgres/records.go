package postgres

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal"
)

const (
	// recordColumns are those of a record whose stream is known.
	recordColumns = "position, version, time, name, schema, codec, data, metadata, xid"
	recordWidth   = 9

	// streamColumns may follow them.
	streamColumns = ", type, id"
	streamWidth   = 2
)

// readRecords appends the rows to page, up to the one by which it has as many
// bytes as a page, and closes them. The stream is that of the row if it has one,
// and else of. Nothing in a record shares memory with the driver.
func readRecords(rows pgx.Rows, page []envelope.Record, of envelope.Stream) ([]envelope.Record, error) {
	defer rows.Close()
	known, scan := false, false
	var last envelope.Record
	for bytes := 0; bytes < pageBytes && rows.Next(); bytes += len(last.Data) {
		if !known {
			// A pool of the program's own may speak the simple protocol, which is text.
			known, scan = true, slices.ContainsFunc(rows.FieldDescriptions(), isText)
		}
		rec := envelope.Record{Stream: of}
		var err error
		if scan {
			err = scanRecord(rows, &rec)
		} else {
			err = takeRecord(rows.RawValues(), &rec, &last)
		}
		if err != nil {
			return nil, err
		}
		page = append(page, rec)
		last = rec
	}
	rows.Close()
	return page, rows.Err()
}

func isText(f pgconn.FieldDescription) bool { return f.Format != pgx.BinaryFormatCode }

func scanRecord(rows pgx.Rows, rec *envelope.Record) error {
	var position, version, schema, xid int64
	var metadata *string
	dest := []any{&position, &version, &rec.Time, &rec.Name, &schema, &rec.Codec, &rec.Data, &metadata, &xid, &rec.Stream.Type, &rec.Stream.ID}
	if err := rows.Scan(dest[:len(rows.FieldDescriptions())]...); err != nil {
		return err
	}
	rec.Position = journal.Position{Epoch: uint64(xid), Seq: uint64(position)}
	rec.Version, rec.Schema, rec.Time = uint64(version), uint32(schema), rec.Time.UTC()
	return readMetadata(metadata, &rec.Metadata, rec.Position)
}

// takeRecord is scanRecord of binary values: the driver looks at the type of
// each anew. Names that the last record had are not made again.
func takeRecord(v [][]byte, rec, last *envelope.Record) error {
	if len(v) != recordWidth && len(v) != recordWidth+streamWidth {
		return corrupt("a row of events has %d columns", len(v))
	}
	for _, i := range [...]int{0, 1, 2, 4, 8} {
		if len(v[i]) != 8 {
			return corrupt("column %d of a row of events has %d bytes", i, len(v[i]))
		}
	}
	rec.Position = journal.Position{Epoch: binary.BigEndian.Uint64(v[8]), Seq: binary.BigEndian.Uint64(v[0])}
	rec.Version = binary.BigEndian.Uint64(v[1])
	at := int64(binary.BigEndian.Uint64(v[2]))
	if at == math.MaxInt64 || at == math.MinInt64 {
		return corrupt("the time at position %v is infinite", rec.Position)
	}
	rec.Time = time.UnixMicro(at + serverEpoch).UTC()
	rec.Name = textOr(v[3], last.Name)
	rec.Schema = uint32(binary.BigEndian.Uint64(v[4]))
	rec.Codec = textOr(v[5], last.Codec)
	rec.Data = append(make([]byte, 0, len(v[6])), v[6]...)
	if len(v) > recordWidth {
		rec.Stream = envelope.Stream{Type: textOr(v[9], last.Stream.Type), ID: textOr(v[10], last.Stream.ID)}
	}
	if v[7] == nil {
		return nil
	}
	metadata := string(v[7])
	return readMetadata(&metadata, &rec.Metadata, rec.Position)
}

// textOr is raw as a string: last, if that is equal.
func textOr(raw []byte, last string) string {
	if string(raw) == last {
		return last
	}
	return string(raw)
}

func readMetadata(text *string, into *envelope.Metadata, at any) error {
	if text == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(*text), into); err != nil {
		return corrupt("metadata at position %v: %v", at, err)
	}
	return nil
}

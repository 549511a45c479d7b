package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// A stored row is: format, version, the columns of its key, the others in the
// order of their names, and a checksum that covers its key in the bucket. Each
// column is its name, one byte for the type of its value, and the value.
type storedRow struct {
	version uint64
	key     []envelope.Column
	columns []envelope.Column
}

// The types of values.
const (
	valueNil    = 0
	valueFalse  = 1
	valueTrue   = 2
	valueInt    = 3 // varint
	valueUint   = 4 // uvarint
	valueFloat  = 5 // 8 bytes
	valueString = 6
	valueBytes  = 7
	valueTime   = 8 // varint, µs since 1970 UTC
	valueJSON   = 9
)

// maxRowKeyBytes is the longest key that is stored as it is. A longer one is
// stored as a hash: inner pages hold keys.
const maxRowKeyBytes = 256

// rowKey is the key of a row in its bucket: the length of the table's name in
// one byte, the name, and for each column of the row's key, in the order of
// their names, its name and its value. Values that [envelope.RowIdentity]
// takes for the same are the same: integers of either sign, times of any zone.
func rowKey(table string, key []envelope.Column) []byte {
	sorted := key
	if !slices.IsSortedFunc(key, byColumnName) {
		sorted = slices.SortedFunc(slices.Values(key), byColumnName)
	}
	buf := make([]byte, 0, 64)
	buf = append(buf, byte(len(table)))
	buf = append(buf, table...)
	start := len(buf)
	for _, c := range sorted {
		buf = appendString(buf, c.Name)
		switch v := c.Value.(type) {
		case string:
			buf = append(buf, valueString)
			buf = appendString(buf, v)
		case []byte:
			buf = append(buf, valueBytes)
			buf = appendString(buf, "0x"+hex.EncodeToString(v))
		case time.Time:
			buf = append(buf, valueTime)
			buf = binary.AppendVarint(buf, v.UnixMicro())
		case json.RawMessage:
			buf = append(buf, valueNil)
			buf = appendString(buf, string(v))
		default: // numbers and truths, as text
			buf = append(buf, valueNil)
			buf = appendString(buf, fmt.Sprint(v))
		}
	}
	if len(buf) <= maxRowKeyBytes {
		return buf
	}
	sum := sha256.Sum256(buf[start:])
	hashed := append(make([]byte, 0, start+1+len(sum)), buf[:start]...)
	hashed = append(hashed, 0) // no column's name is empty
	return append(hashed, sum[:]...)
}

func appendRow(buf, key []byte, r *storedRow) []byte {
	start := len(buf)
	buf = append(buf, format)
	buf = binary.AppendUvarint(buf, r.version)
	buf = appendColumns(buf, r.key)
	buf = appendColumns(buf, r.columns)
	return binary.BigEndian.AppendUint32(buf, keyedCRC(key, buf[start:]))
}

func appendColumns(buf []byte, columns []envelope.Column) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(columns)))
	for _, c := range columns {
		buf = appendString(buf, c.Name)
		switch v := c.Value.(type) {
		case nil:
			buf = append(buf, valueNil)
		case bool:
			if v {
				buf = append(buf, valueTrue)
			} else {
				buf = append(buf, valueFalse)
			}
		case int64:
			buf = binary.AppendVarint(append(buf, valueInt), v)
		case uint64:
			buf = binary.AppendUvarint(append(buf, valueUint), v)
		case float64:
			buf = binary.BigEndian.AppendUint64(append(buf, valueFloat), math.Float64bits(v))
		case string:
			buf = appendString(append(buf, valueString), v)
		case []byte:
			buf = appendBytes(append(buf, valueBytes), v)
		case time.Time:
			buf = binary.AppendVarint(append(buf, valueTime), v.UnixMicro())
		case json.RawMessage:
			buf = appendBytes(append(buf, valueJSON), v)
		}
	}
	return buf
}

func appendBytes(buf, b []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(b)))
	return append(buf, b...)
}

// parseRow verifies the row stored under key and takes it apart. Byte slices
// share the value's memory.
func parseRow(key, value []byte) (storedRow, error) {
	n := len(value) - 4
	if n < 1 || value[0] != format || binary.BigEndian.Uint32(value[n:]) != keyedCRC(key, value[:n]) {
		return storedRow{}, corrupt("row %q", key)
	}
	d := decoder{buf: value[1:n]}
	r := storedRow{version: d.uvarint()}
	r.key = d.columns()
	r.columns = d.columns()
	if d.failed || len(d.buf) > 0 || r.version == 0 {
		return storedRow{}, corrupt("row %q is malformed", key)
	}
	return r, nil
}

// columns takes what appendColumns appended.
func (d *decoder) columns() []envelope.Column {
	n := d.uvarint()
	if n == 0 || d.failed {
		return nil
	}
	columns := make([]envelope.Column, 0, min(n, envelope.MaxRowColumns))
	for ; n > 0 && !d.failed; n-- {
		c := envelope.Column{Name: string(d.bytes())}
		switch d.byte() {
		case valueNil:
		case valueFalse:
			c.Value = false
		case valueTrue:
			c.Value = true
		case valueInt:
			c.Value = d.varint()
		case valueUint:
			c.Value = d.uvarint()
		case valueFloat:
			if bits := d.take(8); bits != nil {
				c.Value = math.Float64frombits(binary.BigEndian.Uint64(bits))
			}
		case valueString:
			c.Value = string(d.bytes())
		case valueBytes:
			c.Value = append([]byte{}, d.bytes()...)
		case valueTime:
			c.Value = fromMicros(d.varint())
		case valueJSON:
			c.Value = json.RawMessage(d.bytes())
		default:
			d.fail()
		}
		columns = append(columns, c)
	}
	return columns
}

package postgres

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// params are the values of a statement's parameters in the wire's binary form,
// one behind the other in a buffer that is used again for the next statement.
// What the driver would do for a group costs as much as a third of the rest of
// the program: it looks at the type of each value anew.
type params struct {
	buf  []byte
	ends []int
	list [][]byte
}

func (p *params) reset() { p.buf, p.ends = p.buf[:0], p.ends[:0] }

func (p *params) end() { p.ends = append(p.ends, len(p.buf)) }

// nothing is NULL.
func (p *params) nothing() { p.ends = append(p.ends, -1) }

// values are all parameters, until the next reset.
func (p *params) values() [][]byte {
	p.list = p.list[:0]
	begin := 0
	for _, end := range p.ends {
		if end < 0 {
			p.list = append(p.list, nil)
			continue
		}
		p.list = append(p.list, p.buf[begin:end:end])
		begin = end
	}
	return p.list
}

// array begins an array, as array_recv of the server reads it.
func (p *params) array(element uint32, n int, hasNull uint32) {
	p.uint32(1) // dimension
	p.uint32(hasNull)
	p.uint32(element)
	p.uint32(uint32(n))
	p.uint32(1) // the first index
}

func (p *params) uint32(v uint32) { p.buf = binary.BigEndian.AppendUint32(p.buf, v) }
func (p *params) uint64(v uint64) { p.buf = binary.BigEndian.AppendUint64(p.buf, v) }
func (p *params) null()           { p.uint32(1<<32 - 1) }

func (p *params) bigint(v int64) {
	p.uint64(uint64(v))
	p.end()
}

func (p *params) bigints(all []int64) {
	p.array(pgtype.Int8OID, len(all), 0)
	for _, v := range all {
		p.uint32(8)
		p.uint64(uint64(v))
	}
	p.end()
}

func (p *params) smallints(all []int16) {
	p.array(pgtype.Int2OID, len(all), 0)
	for _, v := range all {
		p.uint32(2)
		p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(v))
	}
	p.end()
}

func (p *params) texts(all []string) {
	p.array(pgtype.TextOID, len(all), 0)
	for _, v := range all {
		p.uint32(uint32(len(v)))
		p.buf = append(p.buf, v...)
	}
	p.end()
}

// nullableTexts leaves out what is NULL at the end.
func (p *params) nullableTexts(all []*string) {
	for len(all) > 0 && all[len(all)-1] == nil {
		all = all[:len(all)-1]
	}
	p.array(pgtype.TextOID, len(all), 1)
	for _, v := range all {
		if v == nil {
			p.null()
			continue
		}
		p.uint32(uint32(len(*v)))
		p.buf = append(p.buf, *v...)
	}
	p.end()
}

// blobs takes nil as NULL, and leaves out what is NULL at the end.
func (p *params) blobs(all [][]byte) {
	for len(all) > 0 && all[len(all)-1] == nil {
		all = all[:len(all)-1]
	}
	p.array(pgtype.ByteaOID, len(all), 1)
	for _, v := range all {
		if v == nil {
			p.null()
			continue
		}
		p.uint32(uint32(len(v)))
		p.buf = append(p.buf, v...)
	}
	p.end()
}

// A column of sharedRows with a *: an array, and the value that all rows have.

func (p *params) sharedTexts(all []string) {
	if !alike(all) {
		p.texts(all)
		p.nothing()
		return
	}
	p.texts(nil)
	p.buf = append(p.buf, all[0]...)
	p.end()
}

func (p *params) sharedBigints(all []int64) {
	if !alike(all) {
		p.bigints(all)
		p.nothing()
		return
	}
	p.bigints(nil)
	p.bigint(all[0])
}

func (p *params) sharedSmallints(all []int16) {
	if !alike(all) {
		p.smallints(all)
		p.nothing()
		return
	}
	p.smallints(nil)
	p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(all[0]))
	p.end()
}

// alike reports whether there is a value that all have.
func alike[T comparable](all []T) bool {
	for i := range all {
		if all[i] != all[0] {
			return false
		}
	}
	return len(all) > 0
}

// serverEpoch is the server's, 2000-01-01, in microseconds since 1970.
const serverEpoch = 946_684_800_000_000

func (p *params) moments(all []time.Time) {
	p.array(pgtype.TimestamptzOID, len(all), 0)
	for _, v := range all {
		p.uint32(8)
		p.uint64(uint64(v.UnixMicro() - serverEpoch))
	}
	p.end()
}

// bigintsOf reads an array of bigints that are not NULL.
func bigintsOf(raw []byte, each func(i int, v int64)) (n int, ok bool) {
	if len(raw) < 20 || binary.BigEndian.Uint32(raw) != 1 || binary.BigEndian.Uint32(raw[8:]) != pgtype.Int8OID {
		return 0, false
	}
	n = int(binary.BigEndian.Uint32(raw[12:]))
	if raw = raw[20:]; len(raw) != 12*n {
		return 0, false
	}
	for i := range n {
		if binary.BigEndian.Uint32(raw[12*i:]) != 8 {
			return 0, false
		}
		each(i, int64(binary.BigEndian.Uint64(raw[12*i+4:])))
	}
	return n, true
}

package bolt

import (
	"encoding/binary"
	"slices"

	"github.com/troupe-go/troupe/envelope"
)

const (
	// Which parts of a record's metadata are there.
	metaCorrelation = 1 << 0
	metaCausation   = 1 << 1
	metaCommand     = 1 << 2
	metaKeys        = 1 << 3
)

// appendMetadata appends m, whose size need not be told: it says itself what
// is there.
func appendMetadata(buf []byte, m *envelope.Metadata) []byte {
	at := len(buf)
	buf = append(buf, 0)
	for _, named := range [...]struct {
		bit   byte
		value string
	}{{metaCorrelation, m.CorrelationID}, {metaCausation, m.CausationID}, {metaCommand, m.CommandID}} {
		if named.value != "" {
			buf[at] |= named.bit
			buf = appendString(buf, named.value)
		}
	}
	if len(m.Keys) == 0 {
		return buf
	}
	buf[at] |= metaKeys
	var few [8]string
	keys := few[:0]
	for key := range m.Keys {
		keys = append(keys, key)
	}
	slices.Sort(keys) // the same record gives the same bytes
	buf = binary.AppendUvarint(buf, uint64(len(keys)))
	for _, key := range keys {
		buf = appendString(buf, key)
		buf = appendString(buf, m.Keys[key])
	}
	return buf
}

// decodeMetadata builds the metadata that [decoder.metadata] took.
func decodeMetadata(encoded []byte) envelope.Metadata {
	var m envelope.Metadata
	d := decoder{buf: encoded}
	flags := d.byte()
	if flags&metaCorrelation != 0 {
		m.CorrelationID = string(d.bytes())
	}
	if flags&metaCausation != 0 {
		m.CausationID = string(d.bytes())
	}
	if flags&metaCommand != 0 {
		m.CommandID = string(d.bytes())
	}
	if flags&metaKeys != 0 {
		n := d.uvarint()
		m.Keys = make(map[string]string, min(n, envelope.MaxMetadataKeys))
		for ; n > 0 && !d.failed; n-- {
			key := string(d.bytes())
			m.Keys[key] = string(d.bytes())
		}
	}
	return m
}

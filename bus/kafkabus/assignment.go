package kafkabus

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// assignment is what a source knows of one partition while it has it: which of
// its records were received and not settled. The source's mu guards it.
//
// The group's offset, from which on the next owner reads, is that of the first
// record that is not settled. Which records behind it are settled is noted beside
// it:
//
//	pending     17 18. 19 20. 21.      a point marks what is settled
//	offset      17, beside it: 18, 20 to 21
type assignment struct {
	topic     string
	partition int32

	pending []*place // received; the first is not settled
	next    int64    // behind the last record that was received; -1 before the first
	epoch   int32    // of the last record that was received

	before spans // settled by former owners, from next on

	begun   int  // records that a handler is at
	revoked bool // it is about to be another replica's: nothing is begun
	gone    bool // it is: nothing is settled

	dirty bool // what is settled was not committed yet
}

// place is that of one record.
type place struct {
	offset  int64
	epoch   int32
	settled bool
}

// receive notes a record, and returns its place; nil for one that was settled
// before.
func (a *assignment) receive(offset int64, epoch int32) *place {
	p := &place{offset: offset, epoch: epoch, settled: a.before.passes(offset)}
	a.next, a.epoch = offset+1, epoch
	if p.settled && len(a.pending) == 0 {
		a.dirty = true
		return nil
	}
	a.pending = append(a.pending, p)
	if p.settled {
		return nil
	}
	return p
}

// settle notes that the record at p is done.
func (a *assignment) settle(p *place) {
	p.settled, a.dirty = true, true
	n := 0
	for n < len(a.pending) && a.pending[n].settled {
		n++
	}
	clear(a.pending[:n])
	a.pending = a.pending[n:]
}

// commit is the offset that the next owner begins with, and the note beside it;
// ok is false if there is none yet.
func (a *assignment) commit() (offset int64, epoch int32, note string, ok bool) {
	if a.next < 0 {
		return 0, 0, "", false
	}
	if len(a.pending) == 0 {
		return a.next, a.epoch, a.before.from(a.next).String(), true
	}
	var done spans
	for _, p := range a.pending[1:] {
		if p.settled {
			done.add(p.offset)
		} else {
			done.end()
		}
	}
	done.all = append(done.all, a.before.from(a.next).all...)
	first := a.pending[0]
	done.base = first.offset
	return first.offset, first.epoch, done.String(), true
}

// span is offsets from first to last.
type span struct{ first, last int64 }

// spans are offsets in order, in text as distances from base.
type spans struct {
	base int64
	all  []span
	open bool // the last one may still grow: no record between is missing
}

// add puts an offset behind the others.
func (s *spans) add(offset int64) {
	if s.open {
		s.all[len(s.all)-1].last = offset
		return
	}
	s.all, s.open = append(s.all, span{offset, offset}), true
}

func (s *spans) end() { s.open = false }

// passes reports whether it has an offset, and forgets what is before.
func (s *spans) passes(offset int64) bool {
	for len(s.all) > 0 && s.all[0].last < offset {
		s.all = s.all[1:]
	}
	return len(s.all) > 0 && s.all[0].first <= offset
}

// from are the spans at offset and behind.
func (s *spans) from(offset int64) spans {
	rest := spans{base: offset}
	for _, one := range s.all {
		if one.last >= offset {
			rest.all = append(rest.all, span{max(one.first, offset), one.last})
		}
	}
	return rest
}

// maxNote bounds the note beside an offset: Kafka takes 4,096 bytes by default
// (offset.metadata.max.bytes). What does not fit is handled again by the next
// owner.
const maxNote = 2048

// notePrefix tells our notes from those of others, and the layout from later ones.
const notePrefix = "troupe1:"

// String is the note: pairs of varints, how far the next span begins behind the
// end of the last, and how many more offsets it has, in base64.
func (s spans) String() string {
	if len(s.all) == 0 {
		return ""
	}
	var text []byte
	at := s.base
	for _, one := range s.all {
		longer := binary.AppendUvarint(binary.AppendUvarint(text, uint64(one.first-at)), uint64(one.last-one.first))
		if base64.RawStdEncoding.EncodedLen(len(longer)) > maxNote-len(notePrefix) {
			break
		}
		text, at = longer, one.last+1
	}
	return notePrefix + base64.RawStdEncoding.EncodeToString(text)
}

// parseNote reads a note beside an offset. Of what is none of ours nothing is
// settled.
func parseNote(base int64, note string) spans {
	s := spans{base: base}
	coded, ours := strings.CutPrefix(note, notePrefix)
	if !ours {
		return s
	}
	text, err := base64.RawStdEncoding.DecodeString(coded)
	if err != nil {
		return s
	}
	at := base
	for len(text) > 0 {
		gap, n := binary.Uvarint(text)
		if n <= 0 || gap > 1<<40 {
			return spans{base: base}
		}
		more, m := binary.Uvarint(text[n:])
		if m <= 0 || more > 1<<40 {
			return spans{base: base}
		}
		one := span{at + int64(gap), at + int64(gap) + int64(more)}
		s.all, at, text = append(s.all, one), one.last+1, text[n+m:]
	}
	return s
}

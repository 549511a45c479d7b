package bolt

import "encoding/binary"

// state is what each commit stores beside its effects.
type state struct {
	last       uint64 // the newest position; 0 in an empty journal
	checkpoint uint64 // heads in the file include all positions up to here
	spilled    uint64 // receipts of all positions up to here are in runs
	heads      uint64 // how many heads the file holds
	headsSum   uint64 // the sum of their checksums

	// Those of format 2.
	newest      uint64 // position of the newest event
	messages    uint64 // position of the newest message
	messageIDs  uint64 // how many messages there are, those set aside included
	messagesSum uint64 // the sum of the checksums of their ids
	rows        uint64 // how many rows there are
	rowsBytes   uint64 // of their values
	rowsSum     uint64 // the sum of their checksums
	swept       uint64 // no note up to this position is one that a scavenger may delete
}

const (
	stateBytes    = 13*8 + 4
	stateBytesOld = 5*8 + 4 // of format 1
)

// numbers lists what is stored, in this order.
func (s *state) numbers() [13]*uint64 {
	return [...]*uint64{
		&s.last, &s.checkpoint, &s.spilled, &s.heads, &s.headsSum,
		&s.newest, &s.messages, &s.messageIDs, &s.messagesSum, &s.rows, &s.rowsBytes, &s.rowsSum, &s.swept,
	}
}

func (s *state) append(buf []byte) []byte {
	start := len(buf)
	for _, n := range s.numbers() {
		buf = binary.BigEndian.AppendUint64(buf, *n)
	}
	return binary.BigEndian.AppendUint32(buf, keyedCRC(keyState, buf[start:]))
}

// parseState reads what append wrote. old says that it is a state of format 1,
// which ends after the heads.
func parseState(value []byte) (s state, old bool, err error) {
	n := len(value) - 4
	if n != stateBytes-4 && n != stateBytesOld-4 || binary.BigEndian.Uint32(value[n:]) != keyedCRC(keyState, value[:n]) {
		return state{}, false, corrupt("state")
	}
	for i, number := range s.numbers() {
		if 8*i < n {
			*number = binary.BigEndian.Uint64(value[8*i:])
		}
	}
	if s.checkpoint > s.spilled || s.spilled > s.last || s.newest > s.last || s.swept > s.spilled || s.messageIDs > s.messages {
		return state{}, false, corrupt("state: checkpoint %d, spilled %d, last position %d, newest event %d, swept %d, last message %d of %d",
			s.checkpoint, s.spilled, s.last, s.newest, s.swept, s.messages, s.messageIDs)
	}
	return s, n == stateBytesOld-4, nil
}

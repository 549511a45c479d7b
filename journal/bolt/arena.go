package bolt

// arena is the memory of the values of one group. bbolt keeps what it is given
// until the commit is over; then the arena is reset and used again, so that an
// event costs no allocation of its own.
type arena struct {
	chunks  [][]byte // lengths are what is used
	current int      // the chunk in use; those behind it are empty
}

const (
	arenaChunkBytes = 256 << 10
	arenaKeepChunks = 32 // stay allocated between groups
)

// reserve returns an empty slice with room for n bytes. What was appended to
// it becomes part of the arena by keep.
func (a *arena) reserve(n int) []byte {
	for ; a.current < len(a.chunks); a.current++ {
		if chunk := a.chunks[a.current]; cap(chunk)-len(chunk) >= n {
			return chunk[len(chunk):]
		}
	}
	a.chunks = append(a.chunks, make([]byte, 0, max(n, arenaChunkBytes)))
	return a.chunks[a.current]
}

// keep takes what was appended to the last reserved slice. One that outgrew
// its reservation has memory of its own, and needs none of the arena's.
func (a *arena) keep(value []byte) {
	chunk := a.chunks[a.current]
	if grown := chunk[len(chunk):cap(chunk)]; len(value) > 0 && len(value) <= len(grown) && &value[0] == &grown[0] {
		a.chunks[a.current] = chunk[:len(chunk)+len(value)]
	}
}

// reset forgets all values. Nothing may refer to them any more.
func (a *arena) reset() {
	kept := a.chunks[:0]
	for _, chunk := range a.chunks {
		if cap(chunk) == arenaChunkBytes && len(kept) < arenaKeepChunks {
			kept = append(kept, chunk[:0])
		}
	}
	clear(a.chunks[len(kept):])
	a.chunks, a.current = kept, 0
}

package memory

import "slices"

// blockSize is how many items a block holds: few enough that a journal with
// three records is small, enough that a new block is a rare event.
const blockSize = 128

// blocks is a queue of items that never move, numbered from 0. It grows at the
// end and may be dropped from the front.
//
// As long as nothing is dropped and no item is changed once it is filled in, a
// copy of the struct, made under the journal's lock, may be read without it.
// Cleared items are cleared in copies of their blocks.
type blocks[T any] struct {
	list    []*[blockSize]T
	dropped uint64 // blocks before list[0]
	end     uint64 // number of the next item

	none *[blockSize]T // in place of cleared blocks; never written
}

// add makes room for one more item, to be filled in, and returns its number.
func (b *blocks[T]) add() (*T, uint64) {
	n := b.end
	if n%blockSize == 0 {
		b.list = append(b.list, new([blockSize]T))
	}
	b.end++
	return b.at(n), n
}

// at returns the item with a number below end that was not dropped.
func (b *blocks[T]) at(n uint64) *T {
	return &b.list[n/blockSize-b.dropped][n%blockSize]
}

// drop frees the blocks in front of item n.
func (b *blocks[T]) drop(n uint64) {
	for b.dropped < n/blockSize {
		b.list[0] = nil
		b.list = b.list[1:]
		b.dropped++
	}
}

// clear zeroes the items of these numbers, for who reads a later copy of the
// struct; one made before still has them. Blocks of which nothing is left, as
// empty says, share one that is zero; the last item must not be among them.
func (b *blocks[T]) clear(numbers []uint64, empty func(*T) bool) {
	var zero T
	b.list = slices.Clone(b.list)
	copied := make(map[uint64]struct{})
	for _, n := range numbers {
		block := n/blockSize - b.dropped
		if _, ours := copied[block]; !ours {
			changed := *b.list[block]
			b.list[block] = &changed
			copied[block] = struct{}{}
		}
		*b.at(n) = zero
	}
	for block := range copied {
		if !slices.ContainsFunc(b.list[block][:], func(item T) bool { return !empty(&item) }) {
			if b.none == nil {
				b.none = new([blockSize]T)
			}
			b.list[block] = b.none
		}
	}
}

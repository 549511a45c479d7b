package memory

import "github.com/troupe-go/troupe/journal"

// rememberedBatches is how many batches are known by their ids: with one in
// flight per caller, those of very many callers.
const rememberedBatches = 1 << 14

// batches knows the last batches that left nothing lasting to be known by: a
// row tells who wrote it last, not who wrote it before, a deleted one nothing,
// and a message goes once it is published.
type batches struct {
	known  map[journal.BatchID]struct{}
	recent []journal.BatchID // the oldest in recent[next]
	next   int
}

// add remembers b if nothing else does.
func (r *batches) add(b *journal.Batch) {
	if len(b.Appends)+len(b.Receipts) > 0 || len(b.Rows)+len(b.Messages) == 0 {
		return
	}
	if _, again := r.known[b.ID]; again {
		return
	}
	if r.known == nil {
		r.known = make(map[journal.BatchID]struct{})
	}
	r.known[b.ID] = struct{}{}
	if len(r.recent) < rememberedBatches {
		r.recent = append(r.recent, b.ID)
		return
	}
	delete(r.known, r.recent[r.next])
	r.recent[r.next] = b.ID
	r.next = (r.next + 1) % len(r.recent)
}

// holds reports whether b was committed before and is remembered.
func (r *batches) holds(b *journal.Batch) bool {
	_, known := r.known[b.ID]
	return known
}

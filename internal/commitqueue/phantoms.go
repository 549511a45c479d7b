package commitqueue

import (
	"math"
	"slices"

	"github.com/troupe-go/troupe/envelope"
)

// Phantoms remembers the versions that refused batches would have made, until
// all that was submitted before the refusal was told, which is when done is
// called, is decided. The head
// alone cannot tell who built on what: with 5 stored, we queue our 6 and our 7,
// and a stranger's 6 comes first. Our 6 is refused; our 7 expects 6, finds the
// stranger's, and must not pass.
//
// Somebody else's batch that rests on the true version of that number, and was
// queued in the same moment, is refused too. It wrote nothing, and decides
// again.
type Phantoms struct {
	byStream map[envelope.Stream][]*phantom
	untold   []*phantom // whose callers do not know yet, in the order of items
}

type phantom struct {
	version uint64
	refused uint64 // number of the refused item
	until   uint64 // number of the last item submitted before its caller was told
}

// Add remembers the version of stream s that the refused item would have made.
func (p *Phantoms) Add(refused uint64, s envelope.Stream, version uint64) {
	if p.byStream == nil {
		p.byStream = make(map[envelope.Stream][]*phantom)
	}
	f := &phantom{version: version, refused: refused, until: math.MaxUint64}
	p.byStream[s] = append(p.byStream[s], f)
	p.untold = append(p.untold, f)
}

// Has reports whether an item, which expects version of s, may have been built
// on a refused one.
func (p *Phantoms) Has(number uint64, s envelope.Stream, version uint64) bool {
	return len(p.byStream) > 0 && slices.ContainsFunc(p.byStream[s], func(f *phantom) bool {
		return f.version == version && f.refused < number && number <= f.until
	})
}

// Tell says that the caller of the refused item is told now, and which is the
// newest item before. Callers are told in the order of items.
func (p *Phantoms) Tell(refused, newest uint64) {
	for len(p.untold) > 0 && p.untold[0].refused == refused {
		p.untold[0].until = newest
		p.untold = p.untold[1:]
	}
}

// Annul forgets whom to tell: the whole group is refused now.
func (p *Phantoms) Annul() {
	for _, f := range p.untold {
		f.until = 0
	}
	p.untold = nil
}

// Forget drops what matters to no item from number next on.
func (p *Phantoms) Forget(next uint64) {
	p.untold = nil
	for s, list := range p.byStream {
		list = slices.DeleteFunc(list, func(f *phantom) bool { return f.until < next })
		if len(list) == 0 {
			delete(p.byStream, s)
		} else {
			p.byStream[s] = list
		}
	}
}

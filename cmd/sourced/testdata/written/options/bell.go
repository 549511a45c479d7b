// Package options has an aggregate with every option.
package options

import "github.com/troupe-go/troupe/aggregate"

// Bell rings.
//
//sourced:aggregate bell enqueue events=Sound root=base
//sourced:snapshot schema=1 id=serial
type Bell struct {
	base  aggregate.Root
	Rings int
}

// ring makes a sound.
//
//sourced:event rang
func (b *Bell) ring(tone string) { b.Rings++ }

// Gong has an emitter of its own.
//
//sourced:aggregate gong enqueue=emitter events=blow
type Gong struct {
	aggregate.Root

	emitter *aggregate.Emitter
}

//sourced:event struck
func (g *Gong) strike() {}

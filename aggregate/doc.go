// Package aggregate turns plain structs into event-sourced aggregates.
//
// An aggregate is a struct that embeds [Root]. Its [Spec], made by [Define],
// names its type and its events: [On] says how each event changes the state,
// [Event.When] and [Event.Require] when it may be recorded, [Upcast] how an
// older layout of its payload is read; [Applies] declares an event whose payload
// applies itself. [Event.Formerly], [Split] and [Drop] read the records of events
// that are no longer recorded. Commands, made by [NewCommand], decide:
// they look at the state and record events, or refuse.
//
// The state changes by applying events only, whether they were recorded just
// now or are replayed from a journal. Guards are not asked during replay:
// history stands, also when the rules have changed since.
//
// An [Emitter] hands what aggregates enqueue to listeners in this process, once
// the commit succeeded.
//
// Commands run inside actors (package actor), or without them through a
// [Repository]. This package imports no third-party code, so that tests of
// domain code stay instant; package aggregatetest helps with those.
package aggregate

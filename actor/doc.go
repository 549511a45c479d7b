// Package actor runs aggregates as supervised actors over a journal.
//
// A [System] runs over one [journal.Journal]; [Host] adds the aggregates of one
// type to it. Those are virtual: the first command for an id loads its
// aggregate and starts its actor, idleness passivates it to a snapshot, and
// neither loses or reorders a command. Each actor decides one command at a
// time, commits what a round of commands recorded as one batch, and answers
// only then.
//
// Commands are sent with [aggregate.Command.Ask]. One whose caller gave up
// before it began never runs; overload is an error and never a drop; a command
// with an id has one effect, however often it is sent.
//
// protoactor-go is used as the local scheduler and supervisor; nothing outside
// this package sees it.
package actor

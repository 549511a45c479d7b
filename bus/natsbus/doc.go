// Package natsbus is a message bus over NATS JetStream, with the names of the
// Rust framework distributed 1.5.0.
//
// One stream holds all messages of a namespace. A command has the subject
// "{namespace}.cmd.{name}", and the replicas of a group compete for it as
// readers of the durable consumer "{group}_cmd"; an event has
// "{namespace}.evt.{name}", and each group its own consumer "{group}_evt". What
// is published is confirmed by the broker when it is stored. A message that is
// tried again waits at the broker, without blocking others. Dead letters are in
// a stream of their own. docs/formats/nats.md has every name and header.
//
// The stream keeps messages also after they were handled, until its limits say
// otherwise ([Limits]); a group that comes later gets the earlier ones. When it
// is full, publishing is a [bus.ErrUnavailable] until something has become old:
// what a group has yet to handle is not dropped to make room.
//
// With [Options].SingleActive one replica at a time gets the messages of a
// group, in order.
//
// NATS server 2.10 or later is needed, for SingleActive 2.11.
package natsbus

// Package rabbitbus is a message bus over RabbitMQ, with the names of the Rust
// framework distributed 1.5.0.
//
// A command goes to the queue "{namespace}.cmd.{name}", which replicas compete
// for; an event to the topic exchange "{namespace}.events", and from there to
// the queue "{namespace}.evt.{group}" of each group that subscribed to its name
// before. What is published is confirmed by the broker. A message that is
// tried again waits in a queue of its own, without blocking others, and
// survives the broker's restart there; no plugin is needed. Dead letters are in
// the queue "{namespace}.dead".
//
// Work queues are quorum queues, unless [Options].Compat is set: then they are
// declared as a Rust service declares them, so that both can use them. With
// [Options].SingleActive one replica at a time gets the messages of a queue, in
// order. docs/formats/rabbitmq.md has every name and header.
//
// RabbitMQ 3.10 or later is needed, for delays in quorum queues.
package rabbitbus

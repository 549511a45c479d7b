// Package kafkabus is a message bus over Kafka, with the names of the Rust
// framework distributed 1.5.0.
//
// Each name of a message has a topic: "{namespace}.cmd.{name}" for a command and
// "{namespace}.evt.{name}" for an event. Replicas of a group share a topic's
// partitions as members of the consumer groups "{namespace}.{group}.cmd" and
// "{namespace}.{group}.evt". A message's ordering key is its record's key, so all
// messages of a key of one name are in one partition, and reach one replica at a
// time, in order; messages of a key that have different names are in different
// topics, and have no order among them. Messages of different keys are handled at
// once, also those of one partition.
//
// A replica commits up to the first message that is not settled, and notes beside
// it which ones behind are: a message that is tried again holds up its key and
// nothing else, and whoever takes over handles only what is left. What is tried
// again waits in the memory of the run ([bus.RunOptions].MaxHeld).
//
// Dead letters are in the topic "{namespace}.dead", which is compacted: removing
// one writes a tombstone. docs/formats/kafka.md has every name and header.
//
// Topics keep messages after they were handled, for as long as the broker's
// settings say; a group that comes later gets the earlier ones. The assignor needs
// Kafka 2.4 or later; the tests run on 4.4.
package kafkabus

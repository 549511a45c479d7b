// Package knativebus publishes to the brokers of Knative Eventing, as
// CloudEvents in binary mode, and writes the manifests of a service's brokers
// and triggers. It does not consume: triggers bring messages to a service by
// HTTP, where package microsvc/ceingress takes them.
//
// A command goes to the broker "{destination}-commands" of the service that it
// is for, see bus.To, an event to "{service}-events" of the service that
// publishes. The id of the CloudEvent is the message's, its type is the name
// and its source the service: a broker delivers at least once, and receivers
// tell repeats by source and id. Metadata and what else a message has are
// extension attributes; [SetAttributes] reads them back. docs/formats/knative.md
// has every attribute and answer.
//
// A broker confirms before it knows whether a trigger wants the message, so
// nothing is ever unroutable. Whether what it confirmed survives its restart
// depends on the channel behind it: that of a new installation is in memory.
// Messages of one ordering key are published one behind the other; what the
// broker makes of their order depends on its class, and the one on Kafka keeps
// it by the attribute "partitionkey", which is set.
package knativebus

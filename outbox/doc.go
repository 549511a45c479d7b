// Package outbox publishes the messages that commands left in a journal.
//
// A message is in the outbox because its batch committed, and stays there until
// a broker has confirmed it: it is published at least once, whatever dies
// meanwhile, and messages of one ordering key are published in their order. A
// [Dispatcher] does that. Several of them, in several processes, share the work by
// leases on ranges of ordering keys' slots, called lanes; when one dies, others
// take its lanes over once their leases have ended.
//
// While the broker is away everything waits, for as long as it takes. A message
// that the broker refuses for good is parked: set aside with its reason, and
// those behind it in its ordering key wait with it, until somebody has it
// published again or discarded, see [Requeue] and [Discard].
package outbox

package bustest

import (
	"testing"
	"time"

	"github.com/troupe-go/troupe/bus"
)

// Config tells the suite how to reach a broker.
type Config struct {
	// Connect makes a bus of one service, closed by the suite's caller with
	// t.Cleanup. Namespaces are made of lower-case letters, digits and '-', new
	// for each case; several buses of one namespace and group are replicas.
	Connect func(t testing.TB, namespace, group string) *bus.Bus

	// Restart ends the broker without warning and starts it again, with what
	// it has on disk. Nil if the suite may not.
	Restart func(t testing.TB)

	// Patience is how long a case waits for what must happen. Zero means 30
	// seconds.
	Patience time.Duration

	// Messages is how many the bigger cases send. Zero means 1,000.
	Messages int
}

// one is one case: it is run if its features are there.
type one struct {
	name string
	run  func(w *world)
	when func(bus.Features, Config) bool
}

var cases = []one{
	{"CommandsCompete", commandsCompete, nil},
	{"EventsFanOut", eventsFanOut, nil},
	{"ReplicasShareEvents", replicasShareEvents, nil},
	{"CommandsAndEventsOfOneName", commandsAndEventsOfOneName, nil},
	{"RoundTrip", roundTrip, nil},
	{"LargeAndEmptyPayloads", largeAndEmptyPayloads, nil},
	{"TooLargeIsRefused", tooLargeIsRefused, func(f bus.Features, _ Config) bool { return f.MaxMessageBytes > 0 }},
	{"InvalidIsRefused", invalidIsRefused, nil},
	{"Burst", burst, nil},
	{"UnhandledIsAcknowledgedAndCounted", unhandledIsAcknowledged, nil},
	{"MetadataIsInherited", metadataIsInherited, nil},
	{"EventsWaitForAStoppedGroup", eventsWaitForAStoppedGroup, nil},
	{"CommandsWaitForAStoppedGroup", commandsWaitForAStoppedGroup, nil},
	{"LaterGroupGetsEarlierEvents", laterGroupGetsEarlierEvents, func(f bus.Features, _ Config) bool { return f.Retained }},
	{"HandlersComeAndGo", handlersComeAndGo, nil},
	{"CommandOrderPerKey", commandOrderPerKey, func(f bus.Features, _ Config) bool { return f.OrderedCommands }},
	{"EventOrderPerKey", eventOrderPerKey, func(f bus.Features, _ Config) bool { return f.OrderedEvents }},
	{"EventOrderPerKeyThroughRetries", eventOrderThroughRetries, func(f bus.Features, _ Config) bool { return f.OrderedEvents }},
	{"KeysAreHandledAtOnce", keysAreHandledAtOnce, nil},
	{"RetryableComesAgain", retryableComesAgain, nil},
	{"RetriesWait", retriesWait, nil},
	{"RetryingKeyDoesNotBlockOthers", retryingKeyDoesNotBlockOthers, nil},
	{"MaxAttemptsEndInADeadLetter", maxAttempts, deadLetters},
	{"PermanentFailureIsADeadLetter", permanentIsDeadLetter, deadLetters},
	{"DeadLettersOfAGroupAreItsOwn", deadLettersOfAGroup, deadLetters},
	{"ResendAllAndDiscard", resendAllAndDiscard, deadLetters},
	{"PoisonParksItsKeyOnly", poisonParksItsKey, deadLetters},
	{"RetryPolicy", retryPolicy, nil},
	{"LogAndAckPolicy", logAndAckPolicy, nil},
	{"StopPolicy", stopPolicy, nil},
	{"PanicIsPermanent", panicIsPermanent, deadLetters},
	{"LongHandlersKeepTheirMessage", longHandlers, nil},
	{"GracefulStopFinishesWhatItHolds", gracefulStop, nil},
	{"CrashedReplicaIsReplaced", crashedReplica, nil},
	{"ClosedBusSaysSo", closedBus, nil},
	{"RestartedBrokerGivesEverythingAgain", restartedBroker, func(f bus.Features, c Config) bool { return f.Durable && c.Restart != nil }},
}

func deadLetters(f bus.Features, _ Config) bool { return f.DeadLetters }

// Run runs the suite.
func Run(t *testing.T, c Config) {
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Messages == 0 {
		c.Messages = 1000
	}
	features := c.Connect(t, namespace(), "features").Features()
	for _, one := range cases {
		if one.when != nil && !one.when(features, c) {
			continue
		}
		t.Run(one.name, func(t *testing.T) {
			one.run(&world{T: t, c: c, namespace: namespace(), features: features})
		})
	}
}

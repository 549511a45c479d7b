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

// one is one case. lacks, if there is one, says what the transport lacks for it;
// it is skipped then, by name and with that reason.
type one struct {
	name  string
	run   func(w *world)
	lacks func(bus.Features, Config) string
}

// needs is a case's lacks: why, unless a feature is there.
func needs(feature func(bus.Features) bool, why string) func(bus.Features, Config) string {
	return func(f bus.Features, _ Config) string {
		if feature(f) {
			return ""
		}
		return f.Name + " " + why
	}
}

var (
	needsLimit         = needs(func(f bus.Features) bool { return f.MaxMessageBytes > 0 }, "does not know its limit of a message")
	needsRetained      = needs(func(f bus.Features) bool { return f.Retained }, "keeps no events for groups that come later")
	needsCommandOrder  = needs(func(f bus.Features) bool { return f.OrderedCommands }, "keeps no order of commands over replicas")
	needsEventOrder    = needs(func(f bus.Features) bool { return f.OrderedEvents }, "keeps no order of events over replicas")
	needsDeadLetters   = needs(func(f bus.Features) bool { return f.DeadLetters }, "keeps no dead letters")
	needsDurableBroker = func(f bus.Features, c Config) string {
		switch {
		case !f.Durable:
			return f.Name + " forgets when it ends"
		case c.Restart == nil:
			return "the broker is not this test's to restart"
		}
		return ""
	}
)

var cases = []one{
	{"CommandsCompete", commandsCompete, nil},
	{"EventsFanOut", eventsFanOut, nil},
	{"ReplicasShareEvents", replicasShareEvents, nil},
	{"CommandsAndEventsOfOneName", commandsAndEventsOfOneName, nil},
	{"RoundTrip", roundTrip, nil},
	{"LargeAndEmptyPayloads", largeAndEmptyPayloads, nil},
	{"TooLargeIsRefused", tooLargeIsRefused, needsLimit},
	{"InvalidIsRefused", invalidIsRefused, nil},
	{"Burst", burst, nil},
	{"UnhandledIsAcknowledgedAndCounted", unhandledIsAcknowledged, nil},
	{"MetadataIsInherited", metadataIsInherited, nil},
	{"EventsWaitForAStoppedGroup", eventsWaitForAStoppedGroup, nil},
	{"CommandsWaitForAStoppedGroup", commandsWaitForAStoppedGroup, nil},
	{"LaterGroupGetsEarlierEvents", laterGroupGetsEarlierEvents, needsRetained},
	{"HandlersComeAndGo", handlersComeAndGo, nil},
	{"CommandOrderPerKey", commandOrderPerKey, needsCommandOrder},
	{"EventOrderPerKey", eventOrderPerKey, needsEventOrder},
	{"EventOrderPerKeyThroughRetries", eventOrderThroughRetries, needsEventOrder},
	{"KeysAreHandledAtOnce", keysAreHandledAtOnce, nil},
	{"RetryableComesAgain", retryableComesAgain, nil},
	{"RetriesWait", retriesWait, nil},
	{"RetryingKeyDoesNotBlockOthers", retryingKeyDoesNotBlockOthers, nil},
	{"SilentBusKeepsWhatItGivesBack", silentBus, nil},
	{"MaxAttemptsEndInADeadLetter", maxAttempts, needsDeadLetters},
	{"PermanentFailureIsADeadLetter", permanentIsDeadLetter, needsDeadLetters},
	{"DeadLettersOfAGroupAreItsOwn", deadLettersOfAGroup, needsDeadLetters},
	{"ResendAllAndDiscard", resendAllAndDiscard, needsDeadLetters},
	{"PoisonParksItsKeyOnly", poisonParksItsKey, needsDeadLetters},
	{"RetryPolicy", retryPolicy, nil},
	{"LogAndAckPolicy", logAndAckPolicy, nil},
	{"StopPolicy", stopPolicy, nil},
	{"PanicIsPermanent", panicIsPermanent, needsDeadLetters},
	{"LongHandlersKeepTheirMessage", longHandlers, nil},
	{"GracefulStopFinishesWhatItHolds", gracefulStop, nil},
	{"CrashedReplicaIsReplaced", crashedReplica, nil},
	{"ClosedBusSaysSo", closedBus, nil},
	{"RestartedBrokerGivesEverythingAgain", restartedBroker, needsDurableBroker},
}

// Run runs the suite. What a transport lacks is skipped, with what it is.
func Run(t *testing.T, c Config) {
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Messages == 0 {
		c.Messages = 1000
	}
	features := c.Connect(t, namespace(), "features").Features()
	for _, one := range cases {
		t.Run(one.name, func(t *testing.T) {
			if one.lacks != nil {
				if why := one.lacks(features, c); why != "" {
					t.Skip(why)
				}
			}
			one.run(&world{T: t, c: c, namespace: namespace(), features: features})
		})
	}
}

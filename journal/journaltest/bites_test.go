package journaltest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/internal/testenv"
)

func TestMain(m *testing.M) {
	flag.Parse()
	patience = 2 * time.Second // a promise that is broken on purpose is waited for
	for name, value := range map[string]string{
		"rapid.nofailfile": "true", "rapid.shrinktime": "0s",
		"test.parallel": "8", // most of the time is waiting for what a fault keeps from happening
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func toyWith(fault string) Open {
	return func(testing.TB) Harness { return toyHarness(fault) }
}

// The toy without a fault passes, so that each fault below is the only reason
// for what fails.
func TestToyPasses(t *testing.T) {
	patience = 60 * time.Second
	defer func() { patience = 2 * time.Second }()
	t.Run("Cases", func(t *testing.T) { Run(t, toyWith("")) })
	runModel(t, t, toyWith(""), testenv.Count(200, 1_000))
}

// faults are ways to break the contract, and the cases that have to find them.
var faults = []struct {
	name  string
	cases []string
}{
	{"insert if absent", []string{"StaleExpectedVersionWritesNothing", "TooHighExpectedVersionWritesNothing", "OneWinnerPerVersion", "TwoWritersOneWinner"}},
	{"too high passes", []string{"TooHighExpectedVersionWritesNothing", "AssertOfAbsentStream", "TooHighExpectedVersionRefusesTheWholeBatch"}},
	{"ghost acks", []string{"StaleExpectedVersionWritesNothing", "OneWinnerPerVersion", "DoneCalledExactlyOnce"}},
	{"partly stored", []string{"BatchOfSeveralStreamsIsAllOrNothing", "UnrelatedBatchesSurviveAConflict", "WholeBatchOfEveryPartIsAllOrNothing"}},
	{"asserts ignored", []string{"AssertGates", "AssertOfAbsentStream", "ConflictNamesTheStreamThatMoved"}},
	{"joined names", []string{"StreamNamesAreNotJoined"}},
	{"successors are not refused", []string{"StrangerAheadOfQueuedBatchesConflicts", "QueuedSuccessorsOfAConflictConflict", "ForeignAppendBetweenQueuedOnes", "QueuedSuccessorsOfAnyRefusalConflict"}},
	{"successors of conflicts only", []string{"QueuedSuccessorsOfAnyRefusalConflict"}},
	{"one fails all fail", []string{"OneBadMemberFailsAlone", "OnlyStaleMembersFail", "UnrelatedBatchesSurviveAConflict", "MessageIdTakenRefusesThatBatchAlone", "RowThatDoesNotFitItsTableFailsAlone"}},
	{"last come first", []string{"SubmitOrderPerStreamKept", "SameReceiptInOneQueue"}},
	{"done twice", []string{"DoneCalledExactlyOnce", "StaleExpectedVersionWritesNothing"}},
	{"no validation", []string{"InvalidBatchesRefusedBeforeAnyWrite", "InvalidPartsRefusedBeforeAnyWrite"}},
	{"unsupported parts dropped", []string{"UnsupportedPartsAreTypedErrors", "OneBadMemberFailsAlone"}},
	{"the caller's records kept", []string{"BatchBelongsToTheCallerAfterDone"}},
	{"duplicates stored", []string{"DuplicateReceiptWritesNothing", "SameReceiptAtOnceHasOneEffect", "ReceiptWithoutEvents"}},
	{"first duplicate only", []string{"DuplicateErrorHoldsEveryStoredReceipt", "InboxReceiptRefusesTheSecondEffect"}},
	{"conflict before duplicate", []string{"DuplicateIsToldBeforeConflict", "RefusalOrder", "InboxReceiptRefusesTheSecondEffect"}},
	{"receipts checked at submit", []string{"SameReceiptAtOnceHasOneEffect", "SameReceiptInOneQueue", "SameMessageAtOnceHasOneEffect"}},
	{"receipts of refused batches", []string{"RefusedBatchLeavesNoPart", "UnrelatedBatchesSurviveAConflict", "WholeBatchOfEveryPartIsAllOrNothing"}},
	{"replies forgotten", []string{"ReceiptLookup", "DuplicateReceiptWritesNothing"}},
	{"receipts need events", []string{"ReceiptWithoutEvents"}},
	{"receipts lost by reopening", []string{"ReceiptLookup", "DuplicateReceiptWritesNothing", "ManyReceiptsAreFound", "InboxReceiptRefusesTheSecondEffect"}},
	{"resubmit ignored", []string{"ResubmitFindsOwnBatch", "ResubmitReceiptOnlyBatch", "ResubmitInOneQueue", "ResubmittedWideBatchIsStoredOnce", "ResubmittedEffectsAreStoredOnce"}},
	{"resubmit always succeeds", []string{"ResubmitOfForeignEventConflicts", "ResubmitOfWhatWasNeverStoredStoresIt", "ResubmittedEffectsAreStoredOnce"}},
	{"batch id of the head only", []string{"ResubmitFindsOwnBatch"}},
	{"receipts have no batch id", []string{"ResubmitReceiptOnlyBatch", "ResubmittedEffectsAreStoredOnce"}},
	{"batch ids lost by reopening", []string{"ResubmitFindsOwnBatch"}},
	{"snapshot ahead", []string{"SnapshotAheadOfStreamIsLeftOut"}},
	{"snapshot waits for its stream", []string{"SnapshotAheadOfStreamIsLeftOut"}},
	{"snapshots measured before events", []string{"SnapshotOfItsOwnBatchIsStored"}},
	{"older snapshots stored", []string{"SnapshotOnlyIfNewer"}},
	{"equal snapshots stored", []string{"SnapshotOnlyIfNewer"}},
	{"snapshot shared", []string{"SnapshotBelongsToTheReader"}},
	{"snapshots lost by reopening", []string{"SnapshotOnlyIfNewer", "SnapshotBytesReturnedExactly"}},
	{"drops ignored", []string{"DropSnapshot"}},
	{"drops last", []string{"DropSnapshotComesBeforeSnapshots"}},
	{"snapshot does not cut the load", []string{"LoadLatest", "LoadManyKeepsTheOrder"}},
	{"load is one off", []string{"LoadAfterAnyVersion", "LoadOfLongStream", "ReplayBounds"}},
	{"one page only", []string{"LoadOfLongStream", "ReadAllLimit"}},
	{"latest of two moments", []string{"LoadLatestIsOfOneMoment"}},
	{"many sorted", []string{"LoadManyKeepsTheOrder"}},
	{"answered before stored", []string{"AcknowledgedIsVisible"}},
	{"lock held while yielding", []string{"SlowReaderStopsNobody"}},
	{"context ignored", []string{"EndedContextEndsReads", "EndedContextEndsEveryRead"}},
	{"times in milliseconds", []string{"TimeRoundTrip"}},
	{"times in nanoseconds", []string{"TimeRoundTrip"}},
	{"metadata dropped", []string{"MetadataRoundTrip"}},
	{"codec dropped", []string{"NamesReturnedExactly"}},
	{"payload compacted", []string{"PayloadBytesReturnedExactly"}},
	{"late commit", []string{"ReadAllNeverSkips"}},
	{"limit ignored", []string{"ReadAllLimit"}},
	{"limit zero reads nothing", []string{"ReadAllLimit"}},
	{"position inclusive", []string{"ReadAllResumesByPosition"}},
	{"positions change by reopening", []string{"ReadAllResumesByPosition", "PositionsAgree"}},
	{"last record lost by reopening", []string{"GaplessVersions", "ReopenedJournalGoesOn", "CloseAmongWriters"}},
	{"changed never", []string{"ChangedFires", "ChangedLosesNoWakeUp", "ChangedFiresForMessages"}},
	{"changed is closed already", []string{"ChangedGivesAFreshChannel"}},
	{"changed at submit", []string{"ChangedLosesNoWakeUp"}},
	{"unbounded", []string{"CreditBoundsTheQueue"}},
	{"always credit", []string{"CreditBoundsTheQueue"}},
	{"overload drops silently", []string{"SubmitWithoutCreditIsAnswered"}},
	{"large batches get no credit", []string{"LargestBatchIsTaken"}},
	{"ready never called", []string{"CreditBoundsTheQueue", "ReadyCallsComeFirstAskedFirst", "CommitWaitsForCredit"}},
	{"ready last first", []string{"ReadyCallsComeFirstAskedFirst"}},
	{"no credit after close", []string{"ClosedJournalAnswers"}},
	{"second close is an error", []string{"ClosedJournalAnswers"}},
	{"reads after close", []string{"ClosedJournalAnswers", "ClosedJournalAnswersEveryRead"}},
	{"close drops the queue", []string{"CloseAnswersQueued"}},
	{"close lies", []string{"CloseAnswersQueued"}},
	{"close forgets waiters", []string{"CloseReleasesWhoWaitsForCredit"}},
	{"parts are missing", []string{
		"MessagesExistIffTheirBatchCommitted", "RowOperationsAreStored", "InboxReceiptRefusesTheSecondEffect", "TruncateBeginsAtTheBaseline",
	}},
	{"messages of refused batches", []string{"MessagesExistIffTheirBatchCommitted", "WholeBatchOfEveryPartIsAllOrNothing", "OnlyStaleMembersFail"}},
	{"message ids taken twice", []string{"MessagesExistIffTheirBatchCommitted", "MessageIdTakenRefusesThatBatchAlone"}},
	{"message ids checked at submit", []string{"MessageIdTakenRefusesThatBatchAlone"}},
	{"messages last first", []string{"MessagePositionsKeepOrderPerKey"}},
	{"message metadata dropped", []string{"MessageIsStoredAsGiven"}},
	{"message source dropped", []string{"MessageIsStoredAsGiven"}},
	{"message times in milliseconds", []string{"MessageIsStoredAsGiven"}},
	{"slots of ids", []string{"MessageIsStoredAsGiven"}},
	{"messages inclusive", []string{"MessagesAreReadByPosition"}},
	{"message limit ignored", []string{"MessagesAreReadByPosition"}},
	{"messages lost by reopening", []string{"MessagesExistIffTheirBatchCommitted", "MessageIdTakenRefusesThatBatchAlone"}},
	{"messages have no batch id", []string{"ResubmittedEffectsAreStoredOnce"}},
	{"published messages stay", []string{"PublishedMessagesAreGone", "DispatcherMissesNoMessage"}},
	{"published positions are given out again", []string{"PublishedMessagesAreGone"}},
	{"published messages forget their batch", []string{"ResubmittedMessageIsNotStoredOnceItWasPublished"}},
	{"leases overlap", []string{"SlotsHaveOneDispatcherAtATime"}},
	{"leases last for ever", []string{"SlotsHaveOneDispatcherAtATime", "SettlingNeedsTheLease"}},
	{"leases of no slots collide", []string{"SlotsHaveOneDispatcherAtATime"}},
	{"anybody settles", []string{"SettlingNeedsTheLease"}},
	{"lost leases are silent", []string{"SettlingNeedsTheLease"}},
	{"pending of all slots", []string{"PendingMessagesOfSomeSlots"}},
	{"pending skips by key only", []string{"PendingMessagesOfSomeSlots"}},
	{"pending limit ignored", []string{"PendingMessagesOfSomeSlots"}},
	{"pending pages without bound", []string{"PageOfPendingMessagesIsBoundedInBytes"}},
	{"parked messages are pending", []string{"ParkedMessagesWaitForOrders", "ManyMessagesAreParked"}},
	{"parked ids are free", []string{"ParkedMessagesWaitForOrders"}},
	{"orders stay", []string{"ParkedMessagesWaitForOrders"}},
	{"reasons as given", []string{"ParkedMessagesWaitForOrders"}},
	{"parked lost by reopening", []string{"ParkedMessagesWaitForOrders"}},
	{"unparked messages stay parked", []string{"ParkedMessageIsPendingAgain"}},
	{"unparked messages come last", []string{"ParkedMessageIsPendingAgain"}},
	{"complete is too high", []string{"DispatcherMissesNoMessage"}},
	{"outbox after close", []string{"ClosedOutboxSaysSo"}},
	{"delayed messages are pending", []string{"DelayedMessageIsHeldBack"}},
	{"delayed ids are free", []string{"DelayedMessageIsHeldBack"}},
	{"delayed messages stay delayed", []string{"DelayedMessageIsHeldBack"}},
	{"delayed of all slots", []string{"DelayedMessagesOfSomeSlots"}},
	{"delayed in the order of positions", []string{"DelayedMessageIsHeldBack", "DelayedMessagesOfSomeSlots"}},
	{"due is before its time", []string{"DelayedMessageIsHeldBack"}},
	{"delayed limit ignored", []string{"DelayedMessageIsHeldBack"}},
	{"next is what is not due", []string{"DelayedMessageIsHeldBack"}},
	{"delayed lost by reopening", []string{"DelayedMessageIsHeldBack"}},
	{"changed for records only", []string{"ChangedFiresForMessages"}},
	{"rows ignored", []string{"RowOperationsAreStored", "RowTypesComeBack"}},
	{"upsert replaces the row", []string{"RowOperationsAreStored"}},
	{"deleted rows keep their columns", []string{"RowOperationsAreStored"}},
	{"patch keeps the version", []string{"RowVersionCountsWrites"}},
	{"row versions ignored", []string{"StaleRowVersionRefusesTheWholeBatch", "RefusalOrder"}},
	{"rows of refused batches", []string{"StaleRowVersionRefusesTheWholeBatch", "WholeBatchOfEveryPartIsAllOrNothing", "OnlyStaleMembersFail"}},
	{"rows checked at submit", []string{"RowsOfOneQueueSeeEachOther"}},
	{"insert replaces", []string{"InsertOfAPresentRowIsRefused"}},
	{"patch inserts", []string{"PatchOfAnAbsentRowIsRefused"}},
	{"delete needs a row", []string{"DeleteOfAnAbsentRowIsNoError"}},
	{"rows are text", []string{"RowTypesComeBack"}},
	{"row keys joined", []string{"RowKeysAreToldApart"}},
	{"any row fits", []string{"RowThatDoesNotFitItsTableFailsAlone"}},
	{"rows lost by reopening", []string{"RowOperationsAreStored"}},
	{"rows are resubmitted", []string{"ResubmittedWideBatchIsStoredOnce", "ResubmittedEffectsAreStoredOnce"}},
	{"rows before messages", []string{"RefusalOrder"}},
	{"rows before streams", []string{"RefusalOrder"}},
	{"inbox ignored", []string{"InboxReceiptRefusesTheSecondEffect", "SameMessageAtOnceHasOneEffect"}},
	{"consumers ignored", []string{"InboxReceiptsOfTwoConsumersAreTwo"}},
	{"wide batches last", []string{"WideAndNarrowBatchesOfOneStreamKeepOrder", "OnlyStaleMembersFail"}},
	{"heads of the group's beginning", []string{"StreamTwiceInAGroup"}},
	{"heads cached", []string{"TwoWritersOneWinner", "ForeignAppendBetweenQueuedOnes"}},
	{"uncommitted records are read", []string{"UncommittedForeignAppend"}},
	{"truncates ignored", []string{"TruncateBeginsAtTheBaseline", "TruncatesOfOneQueue", "ReplayBounds"}},
	{"truncates of refused batches", []string{"TruncatesOfOneQueue", "WholeBatchOfEveryPartIsAllOrNothing"}},
	{"truncations lost by reopening", []string{"TruncateBeginsAtTheBaseline"}},
	{"first is one", []string{"TruncateBeginsAtTheBaseline", "ReplayBounds"}},
	{"versions begin anew behind a tombstone", []string{"DeletedStreamGoesOnCountingVersions"}},
	{"snapshots outlive a truncation", []string{"SnapshotBelowTheBaselineIsNotUsed"}},
	{"snapshots below the baseline stored", []string{"SnapshotBelowTheBaselineIsNotUsed"}},
	{"truncating deletes at once", []string{"TruncatedRecordsAreReadByPositionUntilScavenged"}},
	{"positions close up", []string{"TruncatedRecordsAreReadByPositionUntilScavenged"}},
	{"positions given out again", []string{"PositionsNeverGoBackAfterScavenge"}},
	{"archive forgotten", []string{"ScavengeArchivesBeforeItDeletes"}},
	{"scavenged before it is archived", []string{"ScavengeArchivesBeforeItDeletes", "ScavengeErrorKeepsRecords"}},
	{"archive errors ignored", []string{"ScavengeErrorKeepsRecords"}},
	{"receipts go with their records", []string{"ScavengeKeepsReceiptsAndMessages"}},
	{"scavenge holds the writer", []string{"ScavengeRunsBesideEverythingElse"}},
	{"scavenge runs twice", []string{"ScavengeRunsBesideEverythingElse"}},
	{"slices overlap", []string{"SlicesPartitionAllStreams"}},
	{"limited before sliced", []string{"SliceLimitCountsWhatIsYielded"}},
	{"any slices", []string{"SliceRangeOutsideIsInvalid", "SlicesPartitionAllStreams"}},
	{"lag counts streams", []string{"LagCountsWhatIsBehind"}},
	{"age of the newest", []string{"LagCountsWhatIsBehind"}},
	{"newest is where the reader is", []string{"LagCountsWhatIsBehind"}},
}

// Every fault is found by every case that is said to find it.
func TestEachFaultIsFound(t *testing.T) {
	cases := map[string]Case{}
	for _, c := range Cases() {
		require.NotContains(t, cases, c.Name)
		cases[c.Name] = c
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range fault.cases {
				require.Contains(t, cases, name)
				r := record(t, func(r *recorder) { cases[name].Run(r, toyWith(fault.name)) })
				require.True(t, r.Failed(), "%s did not find the fault", name)
			}
		})
	}
}

// AllPartsTaken tells an adapter that lacks a part from one that does not.
func TestAllPartsTakenFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "parts are missing"} {
		r := record(t, func(r *recorder) {
			j := toyWith(fault)(r).Journal
			defer j.Close()
			AllPartsTaken(r, j)
		})
		require.Equal(t, fault != "", r.Failed(), "%q: %v", fault, r.texts)
	}
}

// The model finds the faults that show without concurrency or a full queue.
func TestModelFindsFaults(t *testing.T) {
	for _, fault := range []string{
		"insert if absent", "too high passes", "ghost acks", "partly stored", "asserts ignored", "duplicates stored",
		"first duplicate only", "conflict before duplicate", "receipts of refused batches", "replies forgotten", "receipts need events",
		"receipts lost by reopening", "resubmit ignored", "resubmit always succeeds", "batch id of the head only",
		"batch ids lost by reopening", "snapshot ahead", "snapshot waits for its stream", "snapshots measured before events",
		"older snapshots stored", "equal snapshots stored", "snapshots lost by reopening", "drops ignored", "drops last",
		"snapshot does not cut the load", "many sorted", "last record lost by reopening", "positions change by reopening",
		"position inclusive", "limit ignored", "times in milliseconds", "last come first",
		"messages of refused batches", "message ids taken twice", "messages last first", "messages inclusive", "messages have no batch id",
		"messages lost by reopening", "rows ignored", "upsert replaces the row", "deleted rows keep their columns", "patch keeps the version",
		"row versions ignored", "rows of refused batches", "insert replaces", "patch inserts", "delete needs a row", "rows lost by reopening",
		"rows are resubmitted", "rows before messages", "rows before streams", "inbox ignored", "consumers ignored",
		"truncates ignored", "truncates of refused batches", "truncations lost by reopening", "first is one",
		"versions begin anew behind a tombstone", "snapshots outlive a truncation", "snapshots below the baseline stored",
		"truncating deletes at once", "positions close up", "archive forgotten", "slices overlap", "limited before sliced",
	} {
		t.Run(fault, func(t *testing.T) {
			r := record(t, func(r *recorder) { runModel(r, r, toyWith(fault), 1000) })
			require.True(t, r.Failed(), "the model did not find the fault")
		})
	}
}

// recorder is a testing.TB that notes what fails instead of failing.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	texts    []string
	cleanups []func()
}

// record runs f as a test of its own and waits for its end.
func record(t testing.TB, f func(r *recorder)) *recorder {
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			for _, c := range slices.Backward(r.cleanups) {
				r.protect(c)
			}
		}()
		r.protect(func() { f(r) })
	}()
	<-ended
	return r
}

// protect counts a panic as a failure.
func (r *recorder) protect(f func()) {
	defer func() {
		if p := recover(); p != nil {
			r.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f()
}

func (r *recorder) note(failed bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.texts = append(r.texts, text)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.note(true, fmt.Sprint(args...)) }
func (r *recorder) Logf(format string, args ...any)   { r.note(false, fmt.Sprintf(format, args...)) }
func (r *recorder) Log(args ...any)                   { r.note(false, fmt.Sprint(args...)) }
func (r *recorder) Fail()                             { r.note(true, "fail") }
func (r *recorder) FailNow()                          { r.note(true, "fail now"); r.SkipNow() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); r.SkipNow() }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); r.SkipNow() }
func (r *recorder) Skip(args ...any)                  { r.Log(args...); r.SkipNow() }
func (r *recorder) Skipf(format string, args ...any)  { r.Logf(format, args...); r.SkipNow() }
func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }

// SkipNow ends the goroutine of the test, after its deferred calls.
func (r *recorder) SkipNow() { runtime.Goexit() }

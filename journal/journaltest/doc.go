// Package journaltest is the conformance suite of [journal.Journal]: one named
// subtest for each promise of the contract and for each way in which an
// adapter is known to break one.
//
// An adapter's test is a few lines:
//
//	func TestJournal(t *testing.T) {
//		open := func(t testing.TB) journaltest.Harness {
//			j, err := memory.Open(nil)
//			require.NoError(t, err)
//			return journaltest.Harness{Journal: j}
//		}
//		journaltest.Run(t, open)
//		journaltest.RunModel(t, open)
//	}
//
// An adapter that lacks a part of batches says so in its [journal.Features];
// the cases of that part then demand typed errors, and [AllPartsTaken] fails.
// One with real tables makes those of [Tables] in [Harness].Tables; one whose
// data several journals can share opens another in [Harness].Second.
//
// A new promise, or a bug found in one adapter, goes into this suite first.
// Its own tests run it against a journal with faults that can be switched on,
// and prove that each fault makes the subtest fail that names it.
package journaltest

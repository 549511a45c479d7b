// Package aggregatetest tests an aggregate in one sentence: given these events,
// when this command comes, then these events.
//
//	aggregatetest.For(t, account.Spec).
//		Given(account.AccountOpened{ID: "a", Owner: "Ann"}).
//		When(account.Deposit, account.Booking{ID: "a", Cents: 500}).
//		Then(account.AccountDeposited{Cents: 500})
//
// What a test of one handler would not see is checked at each When:
//
//   - Events, reply and snapshot go through the codec, so that what cannot be
//     stored and read again fails the test.
//   - The state afterwards must be what replay of the history gives. A handler
//     that writes a field without an event, and a mutator that reads a clock,
//     are found, and the field is named. This holds for a handler that refuses
//     as well: it must have changed nothing.
//   - The state must survive a snapshot, where the aggregate defines one.
//
// [Scenario.ThenMessages] is for what a command publishes, sends, and has sent later.
//
// [Payloads] proves that stored events of every schema can still be read.
//
// A panic of the handler is an error that is [aggregate.ErrPanic], as in an
// actor. No journal, actor or clock is involved.
package aggregatetest

// Package saga is the service that gets orders done: it listens to what happened
// and says what is next.
package saga

//go:generate go tool sourced

import "github.com/troupe-go/troupe/aggregate"

// Step is where a saga is: what it waits for, or how it ended.
type Step string

// The steps.
const (
	Charging  Step = "charging"  // for the payment
	Reserving Step = "reserving" // for the stock
	Undoing   Step = "undoing"   // for what is given back
	Done      Step = "done"
	Cancelled Step = "cancelled"
)

// OrderSaga gets one order done, and has its id. It is an aggregate like any
// other: its state is its history, so a saga whose process died goes on with the
// next message, in any process.
//
//sourced:aggregate order_saga
type OrderSaga struct {
	aggregate.Root
	Step   Step
	Reason string // of undoing

	// What is yet to be given back.
	RefundDue  bool
	ReleaseDue bool
}

// begin waits for the payment.
//
//sourced:event begun
func (s *OrderSaga) begin() { s.Step = Charging }

// pay waits for the stock.
//
//sourced:event paid
func (s *OrderSaga) pay() { s.Step = Reserving }

// finish ends the saga well.
//
//sourced:event finished
func (s *OrderSaga) finish() { s.Step = Done }

// undo waits until what was done is given back.
//
//sourced:event undoing
func (s *OrderSaga) undo(refund, release bool, reason string) {
	s.Step, s.Reason = Undoing, reason
	s.RefundDue, s.ReleaseDue = refund, release
}

// refunded notes that no money is held.
//
//sourced:event refunded
func (s *OrderSaga) refunded() { s.RefundDue = false }

// released notes that no stock is held.
//
//sourced:event released
func (s *OrderSaga) released() { s.ReleaseDue = false }

// cancel ends the saga with nothing done.
//
//sourced:event cancelled
func (s *OrderSaga) cancel(reason string) { s.Step, s.Reason = Cancelled, reason }

package saga

import (
	"errors"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// Late is what a saga tells itself: a step that was begun long ago.
type Late struct {
	shop.Order
	Step Step `json:"step"`
}

// lateCommand is the name of the command to oneself.
const lateCommand = "order_saga.late"

// steps are what the saga does when it hears something: it looks at where it is,
// records what it heard, and sends what is next. All of that is one commit. What
// is not for the present step comes too late, and changes nothing.
type steps struct{ timeout time.Duration }

// remind has the saga asked, after a while, whether it still waits in a step.
func (st steps) remind(ctx *aggregate.Context, order shop.Order, step Step) {
	if st.timeout > 0 {
		ctx.SendAt(ctx.Now().Add(st.timeout), shop.Saga, lateCommand, Late{order, step})
	}
}

// The way that all goes well.

func (st steps) begin(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	if s.Exists() {
		return none{}, nil
	}
	ctx.Send(shop.Payments, shop.Charge, order)
	st.remind(ctx, order, Charging)
	return none{}, s.Begin()
}

func (st steps) charged(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	if s.Step != Charging {
		return none{}, nil
	}
	ctx.Send(shop.Stock, shop.Reserve, order)
	st.remind(ctx, order, Reserving)
	return none{}, s.Pay()
}

func (st steps) reserved(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	if s.Step != Reserving {
		return none{}, nil
	}
	ctx.Send(shop.Orders, shop.ConfirmOrder, order)
	return none{}, s.Finish()
}

// The ways that something goes wrong.

func (st steps) declined(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	switch s.Step {
	case Charging: // nothing was done that could be undone
		ctx.Send(shop.Orders, shop.CancelOrder, order)
		return none{}, s.Cancel(order.Reason)
	case Undoing: // and nothing is to be refunded
		return st.refunded(ctx, s, order)
	}
	return none{}, nil
}

func (st steps) refused(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	switch s.Step {
	case Reserving:
		ctx.Send(shop.Payments, shop.Refund, order)
		return none{}, s.Undo(true, false, order.Reason)
	case Undoing: // and nothing is to be released
		return st.released(ctx, s, order)
	}
	return none{}, nil
}

// late undoes all that may have been done: what was asked of a service that did
// not answer may be done any time.
func (st steps) late(ctx *aggregate.Context, s *OrderSaga, in Late) (none, error) {
	if s.Step != in.Step {
		return none{}, nil // it went on in time
	}
	const reason = "it took too long"
	ctx.Send(shop.Payments, shop.Refund, in.Because(reason))
	if s.Step == Reserving {
		ctx.Send(shop.Stock, shop.Release, in.Because(reason))
	}
	return none{}, s.Undo(true, s.Step == Reserving, reason)
}

// Compensation: what was given back, or never taken.

func (st steps) refunded(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	if !s.RefundDue {
		return none{}, nil
	}
	return none{}, errors.Join(s.Refunded(), st.undone(ctx, s, order))
}

func (st steps) released(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
	if !s.ReleaseDue {
		return none{}, nil
	}
	return none{}, errors.Join(s.Released(), st.undone(ctx, s, order))
}

// undone ends the saga once all is given back.
func (st steps) undone(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
	if s.RefundDue || s.ReleaseDue {
		return nil
	}
	ctx.Send(shop.Orders, shop.CancelOrder, order.Because(s.Reason))
	return s.Cancel(s.Reason)
}

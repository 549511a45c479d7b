package saga

import (
	"errors"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/order-saga/shop"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// handler is a step of the saga: it looks at where the saga is, records what it
// heard, and sends what is next. All of that is one commit.
type handler = func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error

func command(name string, handle handler, opts ...aggregate.CommandOption) *aggregate.Command[OrderSaga, shop.Order, none] {
	return aggregate.NewCommand("order_saga."+name, func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) (none, error) {
		return none{}, handle(ctx, s, order)
	}, opts...)
}

// The way that all goes well. What comes in another step than the one that waits
// for it comes too late, and changes nothing.
var (
	Begin = command("begin", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		if s.Exists() {
			return nil
		}
		ctx.Send(shop.Payments, shop.Charge, order)
		return s.Begin()
	})

	Charged = command("charged", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		if s.Step != Charging {
			return nil
		}
		ctx.Send(shop.Stock, shop.Reserve, order)
		return s.Pay()
	}, aggregate.MustExist())

	Reserved = command("reserved", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		if s.Step != Reserving {
			return nil
		}
		ctx.Send(shop.Orders, shop.ConfirmOrder, order)
		return s.Finish()
	}, aggregate.MustExist())
)

// The ways that something goes wrong.
var (
	Declined = command("declined", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		switch s.Step {
		case Charging: // nothing was done that could be undone
			ctx.Send(shop.Orders, shop.CancelOrder, order)
			return s.Cancel(order.Reason)
		case Undoing:
			return s.noRefundDue(ctx, order)
		}
		return nil
	}, aggregate.MustExist())

	Refused = command("refused", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		switch s.Step {
		case Reserving:
			return s.compensate(ctx, order, order.Reason, false)
		case Undoing:
			return s.noReleaseDue(ctx, order)
		}
		return nil
	}, aggregate.MustExist())
)

// Compensation: what was given back, or never taken.
var (
	Refunded = command("refunded", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		return s.noRefundDue(ctx, order)
	}, aggregate.MustExist())

	Released = command("released", func(ctx *aggregate.Context, s *OrderSaga, order shop.Order) error {
		return s.noReleaseDue(ctx, order)
	}, aggregate.MustExist())
)

// compensate has the payment refunded, and the stock released if some may be kept.
func (s *OrderSaga) compensate(ctx *aggregate.Context, order shop.Order, reason string, release bool) error {
	ctx.Send(shop.Payments, shop.Refund, order.Because(reason))
	if release {
		ctx.Send(shop.Stock, shop.Release, order.Because(reason))
	}
	return s.Undo(true, release, reason)
}

func (s *OrderSaga) noRefundDue(ctx *aggregate.Context, order shop.Order) error {
	if !s.RefundDue {
		return nil
	}
	return errors.Join(s.Refunded(), s.cancelled(ctx, order))
}

func (s *OrderSaga) noReleaseDue(ctx *aggregate.Context, order shop.Order) error {
	if !s.ReleaseDue {
		return nil
	}
	return errors.Join(s.Released(), s.cancelled(ctx, order))
}

// cancelled ends the saga once all is given back.
func (s *OrderSaga) cancelled(ctx *aggregate.Context, order shop.Order) error {
	if s.RefundDue || s.ReleaseDue {
		return nil
	}
	ctx.Send(shop.Orders, shop.CancelOrder, order.Because(s.Reason))
	return s.Cancel(s.Reason)
}

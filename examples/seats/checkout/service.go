package checkout

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// The commands of an invoice. They come from the guest and from the box office, in
// any order: whoever is second finds what the first one did. None of them waits for
// another by failing: it would hold up what comes behind it under its key, and that
// may be what it waits for.
var (
	Open = aggregate.NewCommand(theatre.OpenInvoice,
		func(_ *aggregate.Context, i *Invoice, in theatre.Invoice) (none, error) {
			if i.Exists() {
				return none{}, nil
			}
			return none{}, i.Open(in.Cents)
		})

	// Pay takes what the guest was told. One who is late, or pays twice, keeps
	// his money.
	Pay = aggregate.NewCommand(theatre.PayInvoice,
		func(ctx *aggregate.Context, i *Invoice, in theatre.Invoice) (none, error) {
			if i.Paid || i.Cancelled {
				return none{}, nil
			}
			ctx.Publish(theatre.InvoicePaid, in)
			return none{}, i.Pay(in.Cents)
		})

	Cancel = aggregate.NewCommand(theatre.CancelInvoice,
		func(ctx *aggregate.Context, i *Invoice, in theatre.Invoice) (none, error) {
			switch {
			case i.Cancelled:
				return none{}, nil
			case i.Paid: // while the box office gave up
				ctx.Publish(theatre.InvoiceRefunded, in)
				return none{}, i.Refund(i.Cents)
			}
			return none{}, i.Cancel()
		})
)

// Register gives svc what it needs to be the service of payments.
func Register(system *actor.System, svc *microsvc.Service) error {
	invoices, err := actor.Host(system, Spec, nil)
	if err != nil {
		return err
	}
	svc.Register(
		microsvc.Expose(Open, invoices),
		microsvc.Expose(Pay, invoices),
		microsvc.Expose(Cancel, invoices))
	return nil
}

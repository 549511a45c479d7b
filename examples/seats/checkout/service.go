package checkout

import (
	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/microsvc"
)

// none is the reply of a command that nobody waits for.
type none struct{}

// The commands of an invoice. The guest and the box office may be as fast as each
// other: whoever is second finds what the first one did.
var (
	Open = aggregate.NewCommand(theatre.OpenInvoice,
		func(_ *aggregate.Context, i *Invoice, in theatre.Invoice) (none, error) {
			if i.Exists() {
				return none{}, nil
			}
			return none{}, i.Open(in.Cents)
		})

	// Pay may come before the invoice was opened: it is not found, and comes
	// again. A guest who is late, or pays twice, keeps his money.
	Pay = aggregate.NewCommand(theatre.PayInvoice,
		func(ctx *aggregate.Context, i *Invoice, in theatre.Invoice) (none, error) {
			if i.Paid || i.Cancelled {
				return none{}, nil
			}
			ctx.Publish(theatre.InvoicePaid, in)
			return none{}, i.Pay(i.Cents)
		}, aggregate.MustExist())

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
		}, aggregate.MustExist())
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

package checkout

import (
	"testing"

	"github.com/troupe-go/troupe/aggregate/aggregatetest"
	"github.com/troupe-go/troupe/examples/seats/theatre"
)

// The guest and the box office come in any order: the money is taken once, and given
// back once.
func TestInvoices(t *testing.T) {
	t.Parallel()
	in := theatre.Invoice{ID: "1", Cents: 100}
	given := func(events ...any) *aggregatetest.Scenario[Invoice] {
		return aggregatetest.For(t, Spec).Given(events...)
	}
	opened, paid := InvoiceOpened{Cents: 100}, InvoicePaid{Cents: 100}
	given().When(Open, in).Then(opened)
	given(opened).When(Open, in).ThenNothing()
	given(opened).When(Pay, in).Then(paid)
	given(opened, paid).When(Pay, in).ThenNothing()
	given(opened).When(Cancel, in).Then(InvoiceCancelled{})
	given(opened, InvoiceCancelled{}).When(Pay, in).ThenNothing()
	given(opened, paid).When(Cancel, in).Then(InvoiceRefunded{Cents: 100})
	given(opened, paid, InvoiceRefunded{Cents: 100}).When(Cancel, in).ThenNothing()
	given(opened, paid, InvoiceRefunded{Cents: 100}).When(Pay, in).ThenNothing()

	given().When(Pay, in).Then(paid)
	given(paid).When(Open, in).ThenNothing()
	given(paid).When(Cancel, in).Then(InvoiceRefunded{Cents: 100})
	given().When(Cancel, in).Then(InvoiceCancelled{})
	given(InvoiceCancelled{}).When(Open, in).ThenNothing()
	given(InvoiceCancelled{}).When(Pay, in).ThenNothing()
}

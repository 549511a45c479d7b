package account

import "github.com/troupe-go/troupe/aggregate"

// Open asks for a new account.
type Open struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
}

// AggregateID is the account's number.
func (c Open) AggregateID() string { return c.ID }

// Booking asks for a deposit or a withdrawal.
type Booking struct {
	ID        string `json:"id"`
	Cents     int64  `json:"cents"`
	Reference string `json:"reference"`
}

// AggregateID is the account's number.
func (c Booking) AggregateID() string { return c.ID }

// Number names the account to close or to look at.
type Number struct {
	ID string `json:"id"`
}

// AggregateID is the account's number.
func (c Number) AggregateID() string { return c.ID }

// View is what a command answers: the account as it is now.
type View struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Balance int64  `json:"balance"` // in cents
	Closed  bool   `json:"closed"`
}

func (a *Account) view() View {
	return View{ID: a.ID(), Owner: a.Owner, Balance: a.Balance, Closed: a.Closed}
}

// The commands of an account. All but OpenAccount answer
// [aggregate.ErrNotFound] where there is none.
var (
	OpenAccount = aggregate.NewCommand("account.open",
		func(ctx *aggregate.Context, a *Account, c Open) (View, error) {
			err := a.Open(c.ID, c.Owner, ctx.Now())
			return a.view(), err
		})

	Deposit = aggregate.NewCommand("account.deposit",
		func(_ *aggregate.Context, a *Account, c Booking) (View, error) {
			err := a.Deposit(c.Cents, c.Reference)
			return a.view(), err
		}, aggregate.MustExist())

	Withdraw = aggregate.NewCommand("account.withdraw",
		func(_ *aggregate.Context, a *Account, c Booking) (View, error) {
			err := a.Withdraw(c.Cents, c.Reference)
			return a.view(), err
		}, aggregate.MustExist())

	CloseAccount = aggregate.NewCommand("account.close",
		func(_ *aggregate.Context, a *Account, c Number) (View, error) {
			err := a.Close()
			return a.view(), err
		}, aggregate.MustExist())

	// Show looks and changes nothing.
	Show = aggregate.NewCommand("account.show",
		func(_ *aggregate.Context, a *Account, _ Number) (View, error) {
			return a.view(), nil
		}, aggregate.MustExist())
)

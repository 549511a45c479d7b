package account

import (
	"errors"
	"time"

	"github.com/troupe-go/troupe/aggregate"
)

// Action says what an [Entry] asks for.
type Action string

// What a line of a statement can ask of one account.
const (
	ActionOpen     Action = "open"
	ActionDeposit  Action = "deposit"
	ActionWithdraw Action = "withdraw"
	ActionClose    Action = "close"
)

// Entry is what a line of a statement asks of one account.
type Entry struct {
	ID     string `json:"id"` // of the account
	Action Action `json:"action"`
	Cents  int64  `json:"cents"`
	Owner  string `json:"owner"` // of an account to open
	Text   string `json:"text"`
}

// AggregateID is the account's number.
func (e Entry) AggregateID() string { return e.ID }

// Booked is what became of an [Entry].
type Booked struct {
	Refused string    `json:"refused"` // why not; empty when it was booked
	Balance int64     `json:"balance"` // behind it, in cents
	At      time.Time `json:"at"`
}

// Book enters one line of a statement.
//
// A refusal is a reply here and no error. A command that is refused with an
// error is decided anew when it comes again, and by then the account may have
// the money; but a statement that is read again must come to the same result.
// A reply is remembered under the command's id, whatever it says.
var Book = aggregate.NewCommand("account.book",
	func(ctx *aggregate.Context, a *Account, e Entry) (Booked, error) {
		err := a.enter(e, ctx.Now())
		if errors.Is(err, aggregate.ErrInvalid) {
			return Booked{}, err // not the account's rules: it could not be stored
		}
		booked := Booked{Balance: a.Balance, At: ctx.Now()}
		if err != nil {
			booked.Refused = err.Error()
		}
		return booked, nil
	})

func (a *Account) enter(e Entry, now time.Time) error {
	switch e.Action {
	case ActionOpen:
		return a.Open(e.ID, e.Owner, now)
	case ActionDeposit:
		return a.Deposit(e.Cents, e.Text)
	case ActionWithdraw:
		return a.Withdraw(e.Cents, e.Text)
	case ActionClose:
		return a.Close()
	}
	return aggregate.Reject("%q is nothing that can be done to an account", e.Action)
}

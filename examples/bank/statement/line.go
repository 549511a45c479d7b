package statement

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a line.
const (
	MaxLineBytes    = 1024
	MaxAccountBytes = 32
	MaxTextBytes    = 200
	MaxCents        = 1_000_000_000_00 // a billion, beyond what an account takes
)

// The actions of a line.
const (
	Open     = "open"
	Deposit  = "deposit"
	Withdraw = "withdraw"
	Transfer = "transfer"
	Close    = "close"
)

// Line is one booking.
type Line struct {
	Number  int // in the file, from 1
	Action  string
	Account string
	Cents   int64  // of deposit, withdraw and transfer
	Owner   string // of open
	To      string // of transfer
	Text    string
}

// Accounts returns the accounts that the line touches, one or two.
func (l *Line) Accounts() []string {
	if l.Action == Transfer {
		return []string{l.Account, l.To}
	}
	return []string{l.Account}
}

// LineError is a line that is no booking.
type LineError struct {
	Number int
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Number, e.Reason) }

// parse reads one line without its end.
func parse(text string) (Line, error) {
	if !utf8.ValidString(text) {
		return Line{}, errors.New("is not UTF-8")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); i >= 0 {
		return Line{}, fmt.Errorf("has a control character at byte %d", i+1)
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	fields, err := r.Read()
	if err != nil {
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			err = syntax.Err
		}
		return Line{}, fmt.Errorf("is not CSV: %w", err)
	}
	if len(fields) != 5 {
		return Line{}, fmt.Errorf("has %d fields, want 5: action,account,amount,other,text", len(fields))
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fromFields(fields[0], fields[1], fields[2], fields[3], fields[4])
}

func fromFields(action, account, amount, other, text string) (Line, error) {
	l := Line{Action: strings.ToLower(action), Account: account, Text: text}
	if err := checkAccount(account); err != nil {
		return l, err
	}
	if len(text) > MaxTextBytes || len(other) > MaxTextBytes {
		return l, fmt.Errorf("has a text of more than %d bytes", MaxTextBytes)
	}
	var err error
	switch l.Action {
	case Open:
		l.Owner = other
		if other == "" {
			err = errors.New("names no owner of the account to open")
		}
	case Deposit, Withdraw:
		l.Cents, err = parseAmount(amount)
	case Transfer:
		l.To = other
		if l.Cents, err = parseAmount(amount); err == nil {
			err = checkAccount(other)
		}
		if err == nil && l.To == l.Account {
			err = fmt.Errorf("transfers from %s to itself", l.To)
		}
	case Close:
	default:
		err = fmt.Errorf("has the unknown action %q, want open, deposit, withdraw, transfer or close", shorten(action))
	}
	return l, err
}

func checkAccount(id string) error {
	if id == "" {
		return errors.New("names no account")
	}
	if len(id) > MaxAccountBytes {
		return fmt.Errorf("has an account number of %d bytes, at most %d are allowed", len(id), MaxAccountBytes)
	}
	for _, r := range id {
		if r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Errorf("has the account number %q, want letters, digits and hyphens", id)
		}
	}
	return nil
}

// parseAmount reads "12", "12.5" or "12.50" as cents, exactly.
func parseAmount(text string) (int64, error) {
	bad := fmt.Errorf("has the amount %q, want a number like 12.50", shorten(text))
	whole, fraction, point := strings.Cut(text, ".")
	if whole == "" || len(fraction) > 2 || point && fraction == "" {
		return 0, bad
	}
	var cents int64
	for _, r := range whole + (fraction + "00")[:2] {
		if r < '0' || r > '9' {
			return 0, bad
		}
		if cents = cents*10 + int64(r-'0'); cents > MaxCents {
			return 0, fmt.Errorf("has the amount %q, which is too large", shorten(text))
		}
	}
	return cents, nil
}

// shorten keeps a message short, whatever a field holds.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

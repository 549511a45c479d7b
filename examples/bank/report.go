package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/troupe-go/troupe/examples/bank/account"
	"github.com/troupe-go/troupe/examples/bank/teller"
)

// say prints a line. Nobody is left to tell that standard output is gone.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

// printReport prints what became of the statement. All but the last lines are
// the same for every run of it.
func printReport(w io.Writer, r *teller.Report, views []account.View, rejected int) {
	if len(r.Rejected) > 0 && rejected != 0 {
		say(w, "\nRejected lines:")
		for i, line := range r.Rejected {
			if i == rejected {
				say(w, "  … and %d more; -rejected -1 lists all", r.Refused-i)
				break
			}
			say(w, "  line %6d: %s", line.Line, line.Reason)
		}
	}
	printBalances(w, views)
	say(w, "\n%d lines: %d booked, %d rejected (of these %d transfers whose money went back).",
		r.Settled, r.Booked, r.Refused, r.Returned)
	say(w, "%s came in, %s went out.", account.Money(r.Deposited), account.Money(r.Withdrawn))
	if r.Remembered > 0 {
		say(w, "%d lines had been dealt with in an earlier run; nothing of them happened again.", r.Remembered)
	}
	if seconds := r.Took.Seconds(); seconds > 0 {
		say(w, "Took %s: %.0f lines a second, 99 of 100 within %s.",
			r.Took.Round(time.Millisecond), float64(r.Settled)/seconds, r.P99.Round(10*time.Microsecond))
	}
}

// printBalances prints the ten richest accounts and the sum of all.
func printBalances(w io.Writer, views []account.View) {
	views = slices.Clone(views)
	slices.SortFunc(views, func(a, b account.View) int {
		return cmp.Or(cmp.Compare(b.Balance, a.Balance), cmp.Compare(a.ID, b.ID))
	})
	const top = 10
	say(w, "\nBalances:")
	sum, closed := int64(0), 0
	for i, v := range views {
		if i < top {
			say(w, "  %-32s %14s  %s", v.ID, account.Money(v.Balance), v.Owner)
		}
		sum += v.Balance
		if v.Closed {
			closed++
		}
	}
	if len(views) > top {
		say(w, "  … and %d more", len(views)-top)
	}
	say(w, "%d accounts, %d of them closed, hold %s.", len(views), closed, account.Money(sum))
}

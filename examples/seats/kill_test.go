//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/troupe-go/troupe/examples/internal/killtest"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/seats/theatre"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal"
)

func TestMain(m *testing.M) {
	testenv.RunChild(map[string]func() error{killtest.Child: func() error { return killtest.RunChild(keeping) }})
	goleak.VerifyTestMain(m)
}

// keeping is register with seats kept for so long.
func keeping(payWithin string) services.Register {
	d, _ := time.ParseDuration(payWithin) // of a test below
	return register(d)
}

const (
	cents  = 50_00
	fewest = 3 // rounds, at least
)

// rejected are what can become of an invoice whose booking is rejected.
var rejected = [][]string{nil, {"opened", "cancelled"}, {"opened", "paid", "refunded"}, {"cancelled"}, {"paid", "refunded"}}

// house is a theatre on one bus, with its guests.
type house struct {
	t        *testing.T
	world    *killtest.World
	witness  *killtest.Witness
	crew     *killtest.Crew
	bookings []theatre.Booking
}

func open(t *testing.T, w *killtest.World, payWithin time.Duration, killed ...string) *house {
	t.Helper()
	w.Declare(t, keeping, payWithin.String(), theatre.Services)
	h := &house{t: t, world: w, witness: w.Watch(t, theatre.BookingHeld, theatre.BookingConfirmed, theatre.BookingRejected)}
	h.crew = w.Start(t, keeping, payWithin.String(), theatre.Services, w.Kills(killed))
	return h
}

// book asks for the two seats of a row and returns the booking's id.
func (h *house) book(row int) string {
	h.t.Helper()
	b := theatre.Booking{ID: fmt.Sprint("booking-", len(h.bookings)), Guest: "Ada", Seats: []string{fmt.Sprint(row, "B"), fmt.Sprint(row, "A")}, Cents: cents}
	h.bookings = append(h.bookings, b)
	h.witness.Send(theatre.Book, b, b.ID)
	return b.ID
}

func (h *house) pay(id string) {
	h.t.Helper()
	h.witness.Send(theatre.PayInvoice, theatre.Invoice{ID: id, Cents: cents}, id)
}

// TestKilledBetweenAnyTwoSteps has two guests at a time who want the same seats,
// while each service is killed at one step after the other, and started again. One
// gets them and pays once, the other one gets none.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	killtest.OnEachBus(t, func(t *testing.T, w *killtest.World) {
		h := open(t, w, time.Hour, theatre.Services...)
		row := 0
		for ; row < fewest || !h.crew.Blown(); row++ {
			rivals := []string{h.book(row), h.book(row)}
			winner, _ := h.witness.AwaitOne(h.crew, rivals, theatre.BookingHeld)
			h.pay(winner)
			h.witness.Await(h.crew, winner, theatre.BookingConfirmed)
			for _, id := range rivals {
				if id != winner {
					h.witness.Await(h.crew, id, theatre.BookingRejected)
				}
			}
		}
		confirmed := h.close()
		require.Equal(t, row, confirmed, "one of each two")
	})
}

// TestGuestsWhoDoNotPayInTime is the same with guests who forget to pay, pay at
// the last moment, or come too late: somebody else may have the seats, and nobody's
// money is kept.
func TestGuestsWhoDoNotPayInTime(t *testing.T) {
	t.Parallel()
	killtest.OnEachBus(t, func(t *testing.T, w *killtest.World) {
		h := open(t, w, 300*time.Millisecond, theatre.BoxOffice)
		row, confirmed := 0, 0
		for n := 0; n < fewest || !h.crew.Blown(); n++ {
			id := h.book(row)
			end := theatre.BookingRejected
			switch n % 3 {
			case 1: // at once, which may be late, too
				_, what := h.witness.AwaitOne(h.crew, []string{id}, theatre.BookingHeld, theatre.BookingRejected)
				if what == theatre.BookingRejected { // the last guest's seats were not free yet
					break
				}
				h.pay(id)
				_, end = h.witness.AwaitOne(h.crew, []string{id}, theatre.BookingConfirmed, theatre.BookingRejected)
			case 2:
				h.witness.Await(h.crew, id, theatre.BookingRejected)
				if h.witness.Saw(id, theatre.BookingHeld) { // nobody else was told to pay
					h.pay(id)
				}
			}
			h.witness.Await(h.crew, id, end)
			if end == theatre.BookingConfirmed {
				confirmed++
				row++ // otherwise the next guest gets the same seats
			}
		}
		require.Equal(t, confirmed, h.close())
	})
}

// close reads from the journals what became of each booking, and returns how many
// were confirmed.
func (h *house) close() (confirmed int) {
	t := h.t
	t.Helper()
	t.Log(len(h.bookings), "bookings")
	h.crew.Finish()
	h.witness.RequireNoDeadLetters()
	histories := map[string]map[string][]string{}
	sold := map[string][]string{} // seat → bookings
	for _, name := range theatre.Services {
		h.world.Read(t, name, func(j journal.Journal) {
			histories[name] = killtest.History(t, j)
			if name == theatre.Seating {
				sold = seatsOf(t, j)
			}
		})
	}
	seats := 0
	for _, b := range h.bookings {
		history := histories[theatre.BoxOffice][b.ID]
		require.NotEmpty(t, history, "%s", b.ID)
		invoice := histories[theatre.Checkout][b.ID]
		switch end := history[len(history)-1]; end {
		case "confirmed":
			confirmed++
			seats += len(b.Seats)
			require.Equal(t, []string{"booked", "held", "held", "offered", "confirmed"}, history, "%s", b.ID)
			require.Contains(t, [][]string{{"opened", "paid"}, {"paid"}}, invoice, "%s", b.ID)
			for _, seat := range b.Seats {
				require.Equal(t, []string{b.ID}, sold[seat], "seat %s", seat)
			}
		case "rejected":
			require.Contains(t, rejected, invoice, "%s", b.ID)
		default:
			require.FailNow(t, "a booking has not ended", "%s: %v", b.ID, history)
		}
	}
	require.Len(t, sold, seats, "the seats of confirmed bookings, and no others")
	return confirmed
}

// seatsOf reads to whom each seat was sold, and demands that every other one that
// was kept was freed.
func seatsOf(t *testing.T, j journal.Journal) map[string][]string {
	t.Helper()
	sold, kept := map[string][]string{}, map[string]string{}
	for rec, err := range j.ReadAll(t.Context(), journal.Position{}, 0) {
		require.NoError(t, err)
		var of struct{ Booking string }
		require.NoError(t, json.Unmarshal(rec.Data, &of))
		seat := rec.Stream.ID
		switch rec.Name {
		case "held":
			require.Empty(t, kept[seat], "seat %s is kept for %s already", seat, kept[seat])
			kept[seat] = of.Booking
		case "freed":
			require.Equal(t, kept[seat], of.Booking, "seat %s", seat)
			delete(kept, seat)
		case "sold":
			require.Equal(t, kept[seat], of.Booking, "seat %s", seat)
			sold[seat] = append(sold[seat], of.Booking)
		}
	}
	for seat, booking := range kept {
		require.Equal(t, []string{booking}, sold[seat], "seat %s", seat)
	}
	return sold
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/examples/seats/theatre"
)

// guests come in pairs who want the same two seats. Every other pair does not pay.
// They tell how it went.
func guests(ctx context.Context, b *bus.Bus, count int, out io.Writer) error {
	source, err := b.Transport().Subscribe(ctx, []string{theatre.BookingConfirmed, theatre.BookingHeld, theatre.BookingRejected})
	if err != nil {
		return err
	}
	evening := rand.Text()[:6] // other seats than those of the last run
	bookings := map[string]bool{}
	for n := range count {
		booking := theatre.Booking{
			ID: fmt.Sprintf("%s-%d", evening, n), Guest: fmt.Sprint("guest ", n), Cents: 50_00,
			Seats: []string{fmt.Sprintf("%s/%dA", evening, n/2), fmt.Sprintf("%s/%dB", evening, n/2)},
		}
		bookings[booking.ID] = n%4 < 2
		if err := services.Send(ctx, b, theatre.Book, booking, booking.ID); err != nil {
			return errors.Join(err, source.Close(ctx))
		}
	}

	ctx, done := context.WithCancel(ctx)
	defer done()
	pay := func(ctx context.Context, in theatre.Booking, _ *envelope.Message) error {
		if !bookings[in.ID] {
			return nil // one of another evening, or one that forgets
		}
		return services.Send(ctx, b, theatre.PayInvoice, theatre.Invoice{ID: in.ID, Cents: in.Cents}, in.ID)
	}
	ended := func(_ context.Context, in theatre.Booking, m *envelope.Message) error {
		if _, ok := bookings[in.ID]; !ok {
			return nil
		}
		delete(bookings, in.ID)
		fmt.Fprintf(out, "%s: %s %s %s\n", in.Guest, strings.Join(in.Seats, " and "), strings.TrimPrefix(m.Name, "booking."), in.Reason)
		if len(bookings) == 0 {
			done()
		}
		return nil
	}
	opts := bus.Idempotent()
	opts.Concurrency = 1
	return bus.RunSource(ctx, source, bus.NewHandlers().
		OnEvent(theatre.BookingHeld, bus.Typed(nil, pay)).
		OnEvent(theatre.BookingConfirmed, bus.Typed(nil, ended)).
		OnEvent(theatre.BookingRejected, bus.Typed(nil, ended)), opts)
}

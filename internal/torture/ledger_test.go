//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// ledger takes entries. An entry has a number that only its own run of the handler
// knows, so that a reply tells which run it is from.
type ledger struct {
	aggregate.Root
	N int
}

// entered is the event, and the reply.
type entered struct {
	Ref     string `json:"ref"`     // of the command: the same in all its attempts
	Attempt string `json:"attempt"` // that had the effect
	N       int    `json:"n"`       // in the ledger
	Nonce   uint64 `json:"nonce"`
}

var (
	onEntered = aggregate.On("entered", func(l *ledger, _ entered) { l.N++ })
	ledgers   = aggregate.Define("ledger", onEntered)
)

type enter struct {
	ID      string `json:"id"`
	Ref     string `json:"ref"`
	Attempt string `json:"attempt"`
}

func (c enter) AggregateID() string { return c.ID }

var cmdEnter = aggregate.NewCommand("ledger.enter", func(_ *aggregate.Context, l *ledger, c enter) (entered, error) {
	e := entered{c.Ref, c.Attempt, l.N + 1, rand.Uint64()}
	return e, onEntered.Record(l, e)
})

// enterBoth is an entry in two ledgers.
type enterBoth struct {
	enter
	Other string `json:"other"`
}

// begun is what the service reports of an attempt before it does anything for it.
const begun = "begun "

// serve is a process that answers FACE on ADDR for the ledgers in JOURNAL.
func serve() error {
	ctx := context.Background()
	j, err := openJournal(ctx, os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	system, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return err
	}
	hosted, err := actor.Host(system, ledgers, nil)
	if err != nil {
		return err
	}
	svc := microsvc.New("ledgers").WithOptions(microsvc.Options{Logger: quiet}).
		Use(func(next microsvc.HandlerFunc) microsvc.HandlerFunc {
			return func(c *microsvc.Context) (any, error) {
				var in enter
				if err := json.Unmarshal(c.RawInput(), &in); err != nil {
					return nil, err
				}
				testenv.Report("%s%s", begun, in.Attempt)
				return next(c)
			}
		}).
		Register(
			microsvc.Expose(cmdEnter, hosted),
			microsvc.Handle("ledger.both", func(c *microsvc.Context, in enterBoth) (both []entered, err error) {
				for i, id := range []string{in.ID, in.Other} {
					e, err := cmdEnter.Ask(c, hosted, enter{id, in.Ref, in.Attempt}, aggregate.WithCommandID(c.CommandID(fmt.Sprint(i))))
					if err != nil {
						return nil, err
					}
					both = append(both, e)
				}
				return both, nil
			}))
	if os.Getenv("FACE") == "grpc" {
		return grpcapi.Serve(ctx, os.Getenv("ADDR"), svc, nil)
	}
	return httpapi.Serve(ctx, os.Getenv("ADDR"), svc, nil)
}

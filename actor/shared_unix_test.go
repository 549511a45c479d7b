//go:build unix

package actor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal/postgres"
)

// childShared is one of several processes that serve the same purses without a
// cluster: workers that put a coin in, or look, in turns. Each answer is
// reported with the times around it, by the machine's clock.
func childShared() error {
	ctx := context.Background()
	j, err := postgres.Open(ctx, os.Getenv("SERVER"), &postgres.Options{Schema: os.Getenv("SCHEMA"), Logger: quiet})
	if err != nil {
		return err
	}
	s, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return err
	}
	h, err := actor.Host(s, purses, &actor.HostOptions{Shared: true})
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	failed := make(chan error, 8)
	for w := range cap(failed) {
		group.Go(func() {
			for i := range rounds {
				o, command, n := order{ID: fmt.Sprint("p", (w+i)%3), N: 1}, cmdPut, 1
				if i%2 == 0 {
					command, n = cmdLook, 0
				}
				began := time.Now().UnixNano()
				a, err := command.Ask(ctx, h, o)
				ended := time.Now().UnixNano()
				switch {
				case errors.Is(err, aggregate.ErrConflict): // both processes wrote too often: it had no effect
				case err != nil:
					failed <- err
					return
				default:
					testenv.Report("%s %d %d %d %d", o.ID, n, a.Coins, began, ended)
				}
			}
		})
	}
	group.Wait()
	close(failed)
	return errors.Join(<-failed, s.Stop(ctx), j.Close())
}

type purseInput struct {
	purse string
	n     int // 0 looks
}

// purseModel is a counter per purse: each answer shows all coins so far.
var purseModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byPurse := map[string][]porcupine.Operation{}
		for _, op := range history {
			p := op.Input.(purseInput).purse
			byPurse[p] = append(byPurse[p], op)
		}
		var all [][]porcupine.Operation
		for _, ops := range byPurse {
			all = append(all, ops)
		}
		return all
	},
	Init: func() any { return 0 },
	Step: func(state, in, out any) (bool, any) {
		coins := state.(int) + in.(purseInput).n
		return out.(int) == coins, coins
	},
}

// TestSharedProcessesAnswerFromTheNewest: two processes on one PostgreSQL, half
// of the commands without events. No answer is older than one that was given
// before it was asked for.
func TestSharedProcessesAnswerFromTheNewest(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresURL(t)
	schema := newSchema(t, server)
	openPostgres(t, server, schema) // makes the tables
	env := []string{"SERVER=" + server, "SCHEMA=" + schema, fmt.Sprint("ROUNDS=", testenv.Count(100, 1_000))}
	var history []porcupine.Operation
	var mu sync.Mutex
	var group sync.WaitGroup
	for client := range 2 {
		child := testenv.StartChild(t, "shared", env)
		group.Go(func() {
			for line := range child.Reports {
				var in purseInput
				var coins int
				var began, ended int64
				if _, err := fmt.Sscan(line, &in.purse, &in.n, &coins, &began, &ended); err != nil {
					t.Error(err)
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: coins, Call: began, Return: ended})
				mu.Unlock()
			}
			if err := child.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.NotEmpty(t, history)
	result := porcupine.CheckOperationsTimeout(purseModel, history, 2*time.Minute)
	require.Equal(t, porcupine.Ok, result)
	t.Logf("%d answers", len(history))
}

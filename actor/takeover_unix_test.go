//go:build unix

package actor_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal/postgres"
	"github.com/troupe-go/troupe/lock"
)

// exclusively hosts purses by a lease that is kept in the journal's database.
func exclusively(j *postgres.Journal) (*actor.System, *actor.Aggregates[purse], error) {
	locker, err := lock.New(j.Locks(), &lock.Options{TTL: time.Second, RetryAfter: 10 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	s, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	h, err := actor.Host(s, purses, &actor.HostOptions{Exclusive: locker})
	return s, h, err
}

// childOwner is a process that owns purses until it is killed, and reports
// each coin that it put in.
func childOwner() error {
	ctx := context.Background()
	j, err := postgres.Open(ctx, os.Getenv("SERVER"), &postgres.Options{Schema: os.Getenv("SCHEMA"), Logger: quiet})
	if err != nil {
		return err
	}
	_, h, err := exclusively(j)
	if err != nil {
		return err
	}
	for {
		a, err := cmdPut.Ask(ctx, h, order{ID: "a", N: 1})
		switch {
		case errors.Is(err, aggregate.ErrUnavailable): // not the owner yet
			time.Sleep(time.Millisecond)
		case err != nil:
			return err
		default:
			testenv.Report("%d", a.Coins)
		}
	}
}

// TestKilledOwnerIsSucceeded: the next process serves once the lease has ended,
// from all that was acknowledged.
func TestKilledOwnerIsSucceeded(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresURL(t)
	schema := newSchema(t, server)
	j, err := postgres.OpenAndMigrate(t.Context(), server, &postgres.Options{Schema: schema, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	child := testenv.StartChild(t, "owner", []string{"SERVER=" + server, "SCHEMA=" + schema})
	coins := 0
	note := func(line string) {
		n, err := strconv.Atoi(line)
		require.NoError(t, err)
		require.Equal(t, coins+1, n)
		coins = n
	}
	note(<-child.Reports)
	s, h, err := exclusively(j)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	_, err = cmdLook.Ask(t.Context(), h, order{ID: "a"})
	require.ErrorIs(t, err, aggregate.ErrUnavailable)
	for range 20 {
		note(<-child.Reports)
	}
	child.Kill()
	for line := range child.Reports {
		note(line)
	}
	var a answer
	require.Eventually(t, func() bool {
		var err error
		a, err = cmdLook.Ask(context.Background(), h, order{ID: "a"})
		return err == nil
	}, 30*time.Second, 5*time.Millisecond)
	require.Contains(t, []int{coins, coins + 1}, a.Coins, "one may have been stored whose answer was not given")
}

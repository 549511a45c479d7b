package actor_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
)

// TestServersDiskIsFull: PostgreSQL runs out of room under load, and gets some
// again.
func TestServersDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := testenv.SmallDisk(t, 400)
	server := testenv.StartPostgresIn(t, disk, "max_wal_size=64MB", "min_wal_size=32MB")
	w := newWorld(t, openPostgres(t, server.URL(), "actor"), &actor.Options{ProbeAfter: 5 * time.Millisecond}, nil)
	x := newWitness(t, w, 32, 8)
	x.awaitService()
	free := testenv.FillDisk(t, disk)
	large := make([]byte, 100<<10) // fills what the server has in reserve
	var err error
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err = cmdPut.Ask(ctx, w.purses, order{ID: "large", N: 1, Sender: string(large)})
		return err != nil
	}, time.Minute, time.Millisecond)
	if code := aggregate.CodeOf(err); code != aggregate.CodeUnavailable && code != aggregate.CodeUnknownOutcome && code != aggregate.CodeNotRun {
		require.NoError(t, err)
	}
	t.Logf("full: %v", err)
	free()
	if !server.Running() { // it ends itself when it cannot write its log
		server.Start()
	}
	t.Logf("service after %v", x.awaitService())
	acknowledged, refused, unknown := x.check()
	t.Logf("%d acknowledged, %d refused, %d unknown", acknowledged, refused, unknown)
}

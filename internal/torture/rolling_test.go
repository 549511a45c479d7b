//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/health" // clients look at grpc.health.v1
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/troupe-go/troupe/actor"
	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/journal/memory"
	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/grpcapi"
	"github.com/troupe-go/troupe/microsvc/httpapi"
)

// TestRollingRestartLosesNothing restarts two replicas of a service in turns while
// callers ask whichever says that it is ready. They are answered, or told to ask
// again by a replica whose stop they have not heard of yet, and see no other
// failure.
func TestRollingRestartLosesNothing(t *testing.T) {
	t.Parallel()
	const delay, retryAfter = 500 * time.Millisecond, 2 * time.Second
	t.Run("face=http", func(t *testing.T) {
		t.Parallel()
		rolling(t, retryAfter, pollingClient, func(ctx context.Context, l net.Listener, svc *microsvc.Service) error {
			return httpapi.ServeListener(ctx, l, svc, &httpapi.Options{DrainDelay: delay, RetryAfter: retryAfter, Logger: quiet})
		})
	})
	t.Run("face=grpc", func(t *testing.T) {
		t.Parallel()
		rolling(t, retryAfter, balancingClient, func(ctx context.Context, l net.Listener, svc *microsvc.Service) error {
			return grpcapi.ServeListener(ctx, l, svc, &grpcapi.Options{DrainDelay: delay, RetryAfter: retryAfter, Logger: quiet})
		})
	})
}

func rolling(t *testing.T, retryAfter time.Duration, client func(t *testing.T, addrs []string) asking,
	serve func(context.Context, net.Listener, *microsvc.Service) error,
) {
	j, err := memory.Open(nil)
	require.NoError(t, err)
	system, err := actor.NewSystem(j, &actor.Options{Logger: quiet})
	require.NoError(t, err)
	hosted, err := actor.Host(system, ledgers, nil)
	require.NoError(t, err)
	addrs := []string{fmt.Sprint("127.0.0.1:", testenv.FreePort(t)), fmt.Sprint("127.0.0.1:", testenv.FreePort(t))}
	type replica struct {
		asked chan struct{}
		stop  func() error
	}
	start := func(addr string) replica {
		asked := make(chan struct{})
		svc := microsvc.New("ledgers").Register(microsvc.Expose(cmdEnter, hosted, func(*microsvc.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			return nil
		}))
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, l, svc) }()
		return replica{asked, func() error { cancel(); return <-ended }}
	}
	replicas := []replica{start(addrs[0]), start(addrs[1])}

	const callers = 8
	var acknowledged [callers]int
	var refused atomic.Int32
	var asking sync.WaitGroup
	over := make(chan struct{})
	ask := client(t, addrs)
	for i := range callers {
		asking.Go(func() {
			for n := 0; ; n++ {
				_, err := ask(context.Background(), cmdEnter.Name(), enter{fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(n)}, "")
				var p *microsvc.Problem
				switch {
				case err == nil:
					acknowledged[i]++
				case errors.As(err, &p) && p.Status == http.StatusServiceUnavailable && p.RetryAfter == retryAfter && errors.Is(err, aggregate.ErrStopped):
					refused.Add(1)
				default:
					t.Errorf("caller %d, call %d: %v", i, n, err)
				}
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond): // a rate, so that other tests go on
				}
			}
		})
	}
	end := sync.OnceFunc(func() { close(over); asking.Wait() })
	defer end()
	for range testenv.Count(1, 10) {
		for i := range replicas {
			for _, r := range replicas { // both have work
				for range 20 {
					select {
					case <-r.asked:
					case <-time.After(time.Minute):
						require.FailNow(t, "a replica is not asked")
					}
				}
			}
			require.NoError(t, replicas[i].stop())
			replicas[i] = start(addrs[i])
		}
	}
	end()
	for _, r := range replicas {
		require.NoError(t, r.stop())
	}
	require.Positive(t, refused.Load(), "some were told")
	for i, n := range acknowledged {
		stored := 0
		for _, err := range j.Load(t.Context(), ledgers.Stream(fmt.Sprint(i)), 0) {
			require.NoError(t, err)
			stored++
		}
		require.Equal(t, n, stored, "each that was acknowledged, and no other")
	}
	require.NoError(t, system.Stop(context.Background()))
	require.NoError(t, j.Close())
}

// pollingClient is a balancer for HTTP that asks /readyz again and again.
func pollingClient(t *testing.T, addrs []string) asking {
	clients, ready := make([]asking, len(addrs)), make([]atomic.Bool, len(addrs))
	var probing sync.WaitGroup
	over := make(chan struct{})
	t.Cleanup(probing.Wait)
	t.Cleanup(func() { close(over) })
	for i, addr := range addrs {
		clients[i] = httpClient(t, addr)
		probe := func() bool {
			resp, err := http.Get("http://" + addr + "/readyz")
			return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
		}
		ready[i].Store(probe())
		probing.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-over:
					return
				case <-tick.C:
					ready[i].Store(probe())
				}
			}
		})
	}
	var next atomic.Uint32
	return func(ctx context.Context, name string, in any, key string) ([]byte, error) {
		for {
			i := int(next.Add(1)) % len(clients)
			if ready[i].Load() {
				return clients[i](ctx, name, in, key)
			}
		}
	}
}

// balancingClient is gRPC's own, which watches grpc.health.v1.
func balancingClient(t *testing.T, addrs []string) asking {
	replicas := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for _, addr := range addrs {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: addr})
	}
	replicas.InitialState(state)
	return grpcClientOf(t, "replicas:///ledgers", grpc.WithResolvers(replicas), grpc.WithDefaultServiceConfig(
		`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "sourced.microsvc.CommandService"}}`))
}

// grpcClientOf connects again soon.
func grpcClientOf(t *testing.T, target string, more ...grpc.DialOption) asking {
	soon := backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond}
	c, err := grpcapi.NewClient(target, &grpcapi.ClientOptions{Dial: append(more,
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: time.Second}))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() }) // there is nobody to tell
	return func(ctx context.Context, name string, in any, key string) ([]byte, error) {
		if key == "" {
			return c.Do(ctx, name, in)
		}
		return c.Do(ctx, name, in, grpcapi.WithIdempotencyKey(key))
	}
}

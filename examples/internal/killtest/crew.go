package killtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/examples/internal/services"
	"github.com/troupe-go/troupe/internal/testenv"
	"github.com/troupe-go/troupe/internal/testenv/buskit"
)

// Register returns what gives each service its handlers, in a variant of the
// example.
type Register func(variant string) services.Register

// role is what a process does.
type role struct {
	service, variant string
	kill             Kill
	idle             time.Duration // of what is told by say; zero for nothing
	say              func(idle bool)
}

// Child is the role of a process that runs one service, for [testenv.RunChild].
const Child = "killtest-service"

// RunChild runs a child's service.
func RunChild(register Register) error {
	w, err := worldFromEnv()
	if err != nil {
		return err
	}
	idle, err := time.ParseDuration(os.Getenv("TROUPE_KILLTEST_IDLE"))
	if err != nil {
		return err
	}
	r := role{os.Getenv("TROUPE_KILLTEST_SERVICE"), os.Getenv("TROUPE_KILLTEST_VARIANT"), parseKill(os.Getenv("TROUPE_KILLTEST_KILL")), idle, func(idle bool) { testenv.Report("idle: %t", idle) }}
	f := &fuse{kill: r.kill}
	f.blow = func() {
		testenv.Report("killed at %s", f.kill)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot fail
		select {}
	}
	return w.run(context.Background(), r, f, register)
}

// run runs a service on fused backends until ctx ends.
func (w *World) run(ctx context.Context, r role, f *fuse, register Register) error {
	j, err := w.OpenJournal(ctx, r.service)
	if err != nil {
		return err
	}
	b, err := w.OpenBus(ctx, r.service)
	if err != nil {
		return errors.Join(err, w.close(j))
	}
	s, err := services.New(r.service, &fusedJournal{j, w, f}, bus.New(&fusedTransport{b.Transport(), f}), quiet, register(r.variant))
	if err != nil {
		return errors.Join(err, b.Close(), w.close(j))
	}
	s.Inbox.MaxBackoff = time.Second
	s.Outbox.LeaseTTL = Lease
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if r.idle > 0 {
		watching.Go(func() { f.watch(ctx, j, r.idle, r.say) })
	}
	err = s.Run(ctx)
	cancel()
	watching.Wait()
	return errors.Join(err, s.Close())
}

// Crew are the processes of the services of one world.
type Crew struct {
	t        *testing.T
	world    *World
	register Register
	variant  string
	services []string

	killed  atomic.Int64 // processes, so far
	stop    chan struct{}
	keeping sync.WaitGroup
	blown   chan struct{}
	failed  chan error
}

// Declare makes what each service needs at the broker, and drops at the end of the
// test what they leave elsewhere. It comes before the first message.
func (w *World) Declare(t *testing.T, register Register, variant string, services []string) {
	t.Helper()
	w.dropAtEnd(t, services)
	w.declare(t, register(variant), services)
}

// Start starts a process for each service. Each is killed as kills says of it,
// one after the other, and started again, in the end for good. With a bus in
// memory what stands for a process is a goroutine, whose journal and bus do
// nothing more for it once it is dead.
func (w *World) Start(t *testing.T, register Register, variant string, services []string, kills map[string][]Kill) *Crew {
	t.Helper()
	c := &Crew{t: t, world: w, register: register, variant: variant, services: services, stop: make(chan struct{}), blown: make(chan struct{}), failed: make(chan error, 16)}
	var blowing sync.WaitGroup
	for _, service := range services {
		blowing.Add(1)
		c.begin(service, kills[service], blowing.Done)
	}
	go func() {
		blowing.Wait()
		close(c.blown)
	}()
	t.Cleanup(c.kill)
	return c
}

// Join adds a service that was away until now. It is not killed.
func (c *Crew) Join(service string) {
	c.services = append(c.services, service)
	c.begin(service, nil, func() {})
}

func (c *Crew) begin(service string, kills []Kill, blown func()) {
	c.keeping.Go(func() {
		if err := c.keep(service, kills, blown); err != nil {
			c.failed <- fmt.Errorf("%s: %w", service, err)
		}
	})
}

// keep has a process for a service.
func (c *Crew) keep(service string, kills []Kill, blown func()) error {
	done := sync.OnceFunc(blown)
	defer done()
	for _, kill := range append(kills, Kill{}) {
		if kill.N == 0 {
			done()
		}
		p := c.start(service, kill, 0)
		select {
		case <-c.stop:
			p.kill()
			return nil
		case err := <-p.ended:
			if err != nil || kill.N == 0 {
				return fmt.Errorf("ended by itself, with kill %q: %w", kill, err)
			}
			c.killed.Add(1)
		}
	}
	return nil
}

// Blown reports whether every process was killed at each of its points.
func (c *Crew) Blown() bool {
	select {
	case <-c.blown:
		return true
	default:
		return false
	}
}

// Failed tells of a process that ended as it should not.
func (c *Crew) Failed() <-chan error { return c.failed }

// kill kills what runs.
func (c *Crew) kill() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.keeping.Wait()
}

// Finish kills all processes, and has the services handle what is left, until none
// does anything any more. Then nobody has the journals open.
func (c *Crew) Finish() {
	c.t.Helper()
	c.kill()
	idle := 3 * Lease / 2
	if c.world.Bus == "kafkabus" {
		idle = 3 * Lease // it has to wait for the sessions of the dead
	}
	type state struct {
		process int
		idle    bool
	}
	states := make(chan state)
	ended := make(chan error)
	over := make(chan struct{})
	defer close(over)
	for i, service := range c.services {
		p := c.start(service, Kill{}, idle)
		defer p.kill()
		go func() {
			for {
				select {
				case now := <-p.idle:
					select {
					case states <- state{i, now}:
					case <-over:
						return
					}
				case err := <-p.ended:
					select {
					case ended <- fmt.Errorf("%s: ended by itself: %w", service, err):
					case <-over:
					}
					return
				case <-over:
					return
				}
			}
		}()
	}
	deadline := time.After(buskit.Patience)
	for resting := map[int]bool{}; len(resting) < len(c.services); {
		select {
		case s := <-states:
			delete(resting, s.process)
			if s.idle {
				resting[s.process] = true
			}
		case err := <-ended:
			require.NoError(c.t, err)
		case <-deadline:
			require.FailNow(c.t, "they do not rest", "of %v only %v", c.services, resting)
		}
	}
}

// process is a process of a service, or what stands for one.
type process struct {
	ended chan error // nil: killed at its point
	idle  chan bool
	kill  func()
}

func (c *Crew) start(service string, kill Kill, idle time.Duration) *process {
	p := &process{ended: make(chan error, 1), idle: make(chan bool, 1000)}
	if c.world.Bus == "membus" {
		c.startInside(p, service, kill, idle)
		return p
	}
	child := testenv.StartChild(c.t, Child, []string{
		c.world.env(), "TROUPE_KILLTEST_SERVICE=" + service, "TROUPE_KILLTEST_VARIANT=" + c.variant,
		"TROUPE_KILLTEST_KILL=" + kill.String(), "TROUPE_KILLTEST_IDLE=" + idle.String(),
	})
	p.kill = child.Kill
	go func() {
		var lines []string
		for line := range child.Reports {
			switch line {
			case "idle: true", "idle: false":
				p.idle <- line == "idle: true"
			default:
				lines = append(lines, line)
			}
		}
		if kill.N > 0 && strings.Join(lines, "\n") == "killed at "+kill.String() {
			p.ended <- nil
			return
		}
		p.ended <- child.Wait()
	}()
	return p
}

func (c *Crew) startInside(p *process, service string, kill Kill, idle time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fuse{kill: kill, blow: cancel}
	ended := make(chan struct{})
	p.kill = func() {
		f.burn()
		<-ended
	}
	go func() {
		defer close(ended)
		err := c.world.run(ctx, role{service, c.variant, kill, idle, func(now bool) { p.idle <- now }}, f, c.register)
		if f.dead.Load() {
			err = nil // it is dead: what it says is not heard
		}
		p.ended <- err
		cancel()
	}()
}

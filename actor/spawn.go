package actor

import (
	"log/slog"
	"sync"
	"sync/atomic"

	proto "github.com/asynkron/protoactor-go/actor"
)

// spawnLanes is how many goroutines can spawn at the same moment.
const spawnLanes = 8

// spawner starts the actors of one host. It is the only place that knows how
// protoactor makes one.
//
// protoactor asks a Props for an actor and a mailbox by functions without
// arguments, and keeps the Props for the actor's life. One Props per actor
// would cost some 300 bytes each; so a lane has one Props, and its functions
// hand out the resident that is being spawned on the lane.
type spawner[A any] struct {
	root  *proto.RootContext
	lanes [spawnLanes]spawnLane[A]
	next  atomic.Uint32
}

type spawnLane[A any] struct {
	mu       sync.Mutex
	props    *proto.Props
	resident *resident[A] // being spawned
}

func (s *spawner[A]) init(system *System) {
	s.root = system.proto.Root.Copy().WithGuardian(system.guardian)
	for i := range s.lanes {
		lane := &s.lanes[i]
		lane.props = proto.PropsFromProducer(
			func() proto.Actor { return lane.resident },
			proto.WithMailbox(func() proto.Mailbox { return &lane.resident.mailbox }),
			proto.WithDispatcher(system.dispatcher),
		)
	}
}

// start makes r an actor and lets it run.
func (s *spawner[A]) start(r *resident[A]) {
	lane := &s.lanes[s.next.Add(1)%spawnLanes]
	lane.mu.Lock()
	defer lane.mu.Unlock()
	lane.resident = r
	s.root.Spawn(lane.props)
	lane.resident = nil
}

// newGuardian is the supervisor of every actor: one that fails is stopped, and
// its id is activated anew from the journal, after a back-off. Restarting it in
// place would keep a state that nobody can vouch for.
func newGuardian() proto.SupervisorStrategy {
	return proto.NewOneForOneStrategy(0, 0, func(any) proto.Directive { return proto.StopDirective })
}

// newProtoSystem starts protoactor with its own logging at the level of
// failures only; what users should know, this package logs itself.
func newProtoSystem(logger *slog.Logger) *proto.ActorSystem {
	return proto.NewActorSystem(proto.WithLoggerFactory(func(*proto.ActorSystem) *slog.Logger {
		return slog.New(errorsOnly{logger.Handler()}).With("lib", "protoactor")
	}))
}

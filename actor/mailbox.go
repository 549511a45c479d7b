package actor

import (
	"sync"
	"sync/atomic"

	proto "github.com/asynkron/protoactor-go/actor"
)

// The mailbox's run states. A wake-up of an idle mailbox schedules it; one of
// a running mailbox makes it look again before it goes idle. So no wake-up is
// ever lost, and none makes it spin.
const (
	mailboxIdle int32 = iota
	mailboxRunning
	mailboxAgain
	mailboxClosed
)

// mailbox is the scheduling half of a resident: what protoactor calls to
// deliver its system messages, and what runs the resident when it is woken.
// Commands do not pass through it; they wait in the entry's queue.
type mailbox struct {
	state   atomic.Int32
	invoker proto.MessageInvoker
	disp    proto.Dispatcher
	run     func() // process, made once

	hasSystem atomic.Bool // spares the lock when there is nothing, which is nearly always
	mu        sync.Mutex
	system    []any
}

// step is the user message that lets a resident do what there is to do.
type step struct{}

var _ proto.Mailbox = (*mailbox)(nil)

func (m *mailbox) RegisterHandlers(invoker proto.MessageInvoker, disp proto.Dispatcher) {
	m.invoker, m.disp = invoker, disp
	m.run = m.process
}

func (m *mailbox) Start() {}

func (m *mailbox) UserMessageCount() int { return 0 }

// PostUserMessage is for messages sent to the PID, which nobody has: commands
// go through the queue. It only wakes.
func (m *mailbox) PostUserMessage(any) { m.wake() }

func (m *mailbox) PostSystemMessage(msg any) {
	m.mu.Lock()
	m.system = append(m.system, msg)
	m.hasSystem.Store(true)
	m.mu.Unlock()
	m.wake()
}

// wake makes the resident run: now, or again when it is running.
func (m *mailbox) wake() {
	for {
		switch m.state.Load() {
		case mailboxIdle:
			if m.state.CompareAndSwap(mailboxIdle, mailboxRunning) {
				m.disp.Schedule(m.run)
				return
			}
		case mailboxRunning:
			if m.state.CompareAndSwap(mailboxRunning, mailboxAgain) {
				return
			}
		default: // it will look again, or it is closed
			return
		}
	}
}

// claim takes a new mailbox for the calling goroutine, which has to call
// process: wake-ups until then schedule nothing.
func (m *mailbox) claim() { m.state.Store(mailboxRunning) }

// claimIdle takes a sleeping mailbox for the calling goroutine, and reports
// whether it did. Whoever claimed it ends with sleep or resume.
func (m *mailbox) claimIdle() bool { return m.state.CompareAndSwap(mailboxIdle, mailboxRunning) }

// sleep gives a claimed mailbox back, and reports false if it was woken
// meanwhile.
func (m *mailbox) sleep() bool { return m.state.CompareAndSwap(mailboxRunning, mailboxIdle) }

// resume has a claimed mailbox run on a worker.
func (m *mailbox) resume() { m.disp.Schedule(m.run) }

// process runs the resident until nobody wakes it any more.
func (m *mailbox) process() {
	for {
		m.deliver()
		if m.state.CompareAndSwap(mailboxRunning, mailboxIdle) {
			return
		}
		if !m.state.CompareAndSwap(mailboxAgain, mailboxRunning) {
			return // closed
		}
	}
}

// deliver hands over the system messages, then lets the resident step. A panic
// here is a fault of the framework or of a hook: handlers are guarded on their
// own. The supervisor then stops the actor.
func (m *mailbox) deliver() {
	var msg any
	defer func() {
		if v := recover(); v != nil {
			m.invoker.EscalateFailure(v, msg)
		}
	}()
	suspended := false
	for m.hasSystem.Load() {
		m.mu.Lock()
		system := m.system
		m.system = nil
		m.hasSystem.Store(false)
		m.mu.Unlock()
		for _, msg = range system {
			switch msg.(type) {
			case *proto.SuspendMailbox:
				suspended = true
			case *proto.ResumeMailbox:
				suspended = false
			default:
				m.invoker.InvokeSystemMessage(msg)
			}
		}
	}
	if suspended || m.state.Load() == mailboxClosed {
		return
	}
	msg = step{}
	m.invoker.InvokeUserMessage(msg)
}

// close makes every later wake-up a no-op.
func (m *mailbox) close() { m.state.Store(mailboxClosed) }

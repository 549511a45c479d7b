package aggregate

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// RunGuarded runs inv on a, turning a panic of the handler into a
// [PanicError], and answering [ErrNotFound] where the command needs an
// aggregate that exists. It is for runtimes.
//
// After an error the state of a may be anything if a recorded something or the
// handler panicked: drop it.
func RunGuarded[A any](ctx context.Context, spec *Spec[A], inv Invocation[A], a *A, now time.Time) (err error) {
	h := inv.Header()
	if h.MustExist && !rootOf(a).Exists() {
		return NotFound(spec.Stream(h.AggregateID))
	}
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Stream: spec.Stream(h.AggregateID), Command: h.Command, Value: v, Stack: debug.Stack()}
		}
	}()
	return inv.Run(ctx, a, now)
}

// DecodeReceipt gives inv the reply that a stored receipt remembers.
//
// Errors: [envelope.ErrUnknownCodec] and the codec's.
func DecodeReceipt[A any](spec *Spec[A], inv Invocation[A], receipt *envelope.Receipt) error {
	codec, err := spec.codecs.Lookup(receipt.Codec)
	if err != nil {
		return err
	}
	return inv.DecodeReply(codec, receipt.Reply)
}

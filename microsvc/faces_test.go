package microsvc_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/troupe-go/troupe/microsvc"
	"github.com/troupe-go/troupe/microsvc/microsvctest"
)

// dispatch, call and answer are the faces without a transport.
var (
	dispatch = microsvctest.Face{Direct: true, Open: func(_ testing.TB, w *microsvctest.World) microsvctest.Caller {
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			reply, err := w.Service.Dispatch(ctx, c.Command, []byte(c.Input), c.Session, microsvc.WithIdempotencyKey(c.Key), microsvc.WithRequestID(c.ID))
			return microsvctest.Answer{Err: err, Reply: string(reply)}
		}
	}}
	typed = microsvctest.Face{Direct: true, Open: func(_ testing.TB, w *microsvctest.World) microsvctest.Caller {
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			reply, err := microsvc.Call[json.RawMessage](ctx, w.Service, c.Command, json.RawMessage(c.Input), c.Session, microsvc.WithIdempotencyKey(c.Key), microsvc.WithRequestID(c.ID))
			return microsvctest.Answer{Err: err, Reply: string(reply)}
		}
	}}
	answer = microsvctest.Face{Open: func(_ testing.TB, w *microsvctest.World) microsvctest.Caller {
		return func(ctx context.Context, c microsvctest.Call) microsvctest.Answer {
			reply, p := w.Service.Answer(ctx, microsvc.Request{Command: c.Command, Input: []byte(c.Input), Session: c.Session, Key: c.Key, ID: c.ID})
			if p != nil {
				return microsvctest.Answer{Err: p}
			}
			return microsvctest.Answer{Reply: string(reply)}
		}
	}}
)

func TestFaces(t *testing.T) {
	t.Parallel()
	for name, face := range map[string]microsvctest.Face{"dispatch": dispatch, "call": typed, "answer": answer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			microsvctest.Run(t, face)
			microsvctest.RunClient(t, face)
		})
	}
}

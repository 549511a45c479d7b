package actor

import (
	"log/slog"

	"github.com/troupe-go/troupe/internal/statediff"
)

// checkState compares the state with a second copy that only ever changes by
// replaying what was recorded: [HostOptions.CheckState]. A field that differs
// was written by a handler without an event; after a restart it would be gone.
// The finding is logged and counted, and the state is made anew from the
// journal behind the turn.
func (r *resident[A]) checkState(t *turn[A], mark int, command string) {
	if r.shadow == nil || r.state == nil {
		return
	}
	var field string
	if _, err := r.host.spec.ReplayAll(r.shadow, each(t.recorder.Records[mark:])); err != nil {
		field = "(replay: " + err.Error() + ")"
	} else {
		field = statediff.Diff(r.state, r.shadow)
	}
	if field == "" {
		return
	}
	r.host.system.stats.stateDiffs.Add(1)
	r.host.system.opts.Logger.Error("handler changed the state without an event",
		slog.String("stream", r.host.stream(r.entry.id).String()),
		slog.String("command", command), slog.String("field", field))
	r.state, r.shadow = nil, nil
}

// loadShadow loads the second copy where it is wanted.
func (h *Aggregates[A]) loadShadow(id string) (*A, error) {
	if !h.opts.CheckState {
		return nil, nil
	}
	a, _, err := h.load(id)
	return a, err
}

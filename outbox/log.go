package outbox

import (
	"context"
	"log/slog"

	"github.com/troupe-go/troupe/bus"
	"github.com/troupe-go/troupe/envelope"
)

// LogPublisher confirms every message and writes it to logger: for development,
// where there is no broker yet. Nil means slog.Default().
func LogPublisher(logger *slog.Logger) bus.Publisher {
	if logger == nil {
		logger = slog.Default()
	}
	return logPublisher{logger}
}

type logPublisher struct{ logger *slog.Logger }

func (p logPublisher) Features() bus.Features {
	return bus.Features{Name: "log", OrderedPublish: true}
}

func (p logPublisher) PublishBatch(ctx context.Context, messages []envelope.Message) error {
	for i := range messages {
		m := &messages[i]
		p.logger.InfoContext(ctx, "outbox: message", "kind", m.Kind.String(), "name", m.Name, "id", m.ID, "key", m.OrderingKey(),
			"destination", m.Destination, "data", string(m.Data))
	}
	return nil
}

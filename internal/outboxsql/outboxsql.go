package outboxsql

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupe-go/troupe/journal"
)

// OrderingKey is that of envelope.Message, of a row.
const OrderingKey = "CASE key WHEN '' THEN source_id ELSE key END"

// InSlots is a condition that follows another, for the rows of some slots. The
// numbers stand in the text: they change only when leases do.
func InSlots(slots []journal.SlotRange) string {
	slots = journal.JoinSlots(slots)
	if len(slots) == 1 && slots[0] == journal.AllSlots {
		return ""
	}
	ranges := make([]string, 0, len(slots)+1)
	for _, r := range slots {
		ranges = append(ranges, fmt.Sprintf("slot >= %d AND slot < %d", r.From, r.To))
	}
	return " AND (" + strings.Join(append(ranges, "false"), " OR ") + ")"
}

// Due is the column due of a message that is held back until then: microseconds
// since 1970, and 0 if it is not held back.
func Due(notBefore time.Time) int64 {
	if notBefore.IsZero() {
		return 0
	}
	return max(notBefore.UnixMicro(), 1)
}

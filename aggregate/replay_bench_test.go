package aggregate_test

import (
	"testing"

	"github.com/troupe-go/troupe/envelope"
)

// BenchmarkReplay is the replay of 1,000 small events, of an event that never
// had another schema, and through two upcasters.
func BenchmarkReplay(b *testing.B) {
	for _, c := range []struct {
		name   string
		event  string
		schema uint32
		data   string
	}{
		{"current", "taken", 1, `{"Cents":1}`},
		{"upcast", "opened", 1, `{"name":"Ann"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			records := make([]envelope.Record, 1000)
			for i := range records {
				records[i] = stored(uint64(i)+1, c.event, c.schema, c.data)
			}
			each := history(records...)
			b.ReportAllocs()
			for b.Loop() {
				if n, err := spec.ReplayAll(spec.New("1"), each); err != nil || n != len(records) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

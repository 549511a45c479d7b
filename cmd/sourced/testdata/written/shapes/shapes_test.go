package shapes

import (
	"context"
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	stdtime "time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal/memory"
)

// Every shape comes back from the journal as it was recorded, by replay and
// from a snapshot.
func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	repo, err := aggregate.NewRepository(j, Spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := "perhaps"
	point := &Point{Base{"cm"}, 1.5, -2}
	s := Spec.New("1")
	for _, err := range []error{
		s.Plain(true, -8, 1<<63, 0.25, "text <&> \u2028", 'ö', 255),
		s.Lists([3]int{1, 2, 3}, []byte{0, 255}, map[string]map[int][]*Point{"a": {7: {point, nil}}}, tags{"x"}, index{"i": {1, 2}}),
		s.Named(stdtime.Date(2026, 11, 23, 1, 2, 3, 4, stdtime.UTC), stdtime.Minute, "red", 3, Pair[string, []int]{"a", []int{1}}, *point),
		s.Pointed(point, big.NewInt(1).Lsh(big.NewInt(1), 100), &text),
		s.Loose(json.RawMessage(`{"a":[1,2]}`), map[string]any{"k": "v", "n": 1.0}, struct{ A, B int }{1, 2}),
		s.Based(Base{"m"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := repo.Commit(ctx, s); err != nil {
		t.Fatal(err)
	}
	replayed, err := repo.Load(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.Snapshot(), replayed.Snapshot()) {
		t.Fatalf("replayed\n%+v\nwant\n%+v", replayed.Snapshot(), s.Snapshot())
	}
	snap, err := Spec.Snapshot(s, stdtime.Now())
	if err != nil {
		t.Fatal(err)
	}
	restored := Spec.New("1")
	if err := Spec.Restore(restored, &snap); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.Snapshot(), restored.Snapshot()) {
		t.Fatalf("restored\n%+v\nwant\n%+v", restored.Snapshot(), s.Snapshot())
	}
}

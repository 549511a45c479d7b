package options

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/journal/memory"
)

func TestOptions(t *testing.T) {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	emitter, err := aggregate.NewEmitter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	aggregate.Listen(emitter, func(_ context.Context, s Sound, _ aggregate.Emission) {
		heard = append(heard, s.(BellRang).Tone)
	})
	bells, err := aggregate.NewRepository(j, BellSpec, &aggregate.RepositoryOptions{Emitter: emitter})
	if err != nil {
		t.Fatal(err)
	}
	bell := BellSpec.New("b1")
	for _, tone := range []string{"c", "d"} {
		if err := bell.Ring(tone); err != nil {
			t.Fatal(err)
		}
	}
	if err := bells.Commit(ctx, bell); err != nil {
		t.Fatal(err)
	}
	if err := emitter.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(heard, []string{"c", "d"}) {
		t.Fatalf("heard %v", heard)
	}
	if got := bell.Snapshot(); got != (BellSnapshot{Serial: "b1", Rings: 2}) {
		t.Fatalf("snapshot %+v", got)
	}
	var again Bell
	again.Restore(BellSnapshot{Serial: "b2", Rings: 3})
	if again.AggregateRoot().ID() != "b2" || again.Rings != 3 {
		t.Fatalf("restored %+v", again)
	}
	snap, err := BellSpec.Snapshot(bell, time.Now())
	if err != nil || string(snap.Data) != `{"serial":"b1","rings":2}` {
		t.Fatalf("snapshot %s, %v", snap.Data, err)
	}
}

func TestOwnEmitter(t *testing.T) {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	gongs, err := aggregate.NewRepository(j, GongSpec, nil)
	if err != nil {
		t.Fatal(err)
	}
	gong := GongSpec.New("g1")
	if gong.emitter, err = aggregate.NewEmitter(nil); err != nil {
		t.Fatal(err)
	}
	strikes := 0
	gong.emitter.Listen("struck", func(context.Context, aggregate.Emission) { strikes++ })
	if err := gong.Strike(); err != nil {
		t.Fatal(err)
	}
	if err := gongs.Commit(ctx, gong); err != nil {
		t.Fatal(err)
	}
	if err := gong.emitter.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if strikes != 1 {
		t.Fatalf("heard %d strikes", strikes)
	}
}

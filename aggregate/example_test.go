package aggregate_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/aggregate"
	"github.com/troupe-go/troupe/envelope"
	"github.com/troupe-go/troupe/journal/memory"
)

// Door is an aggregate written without the generator.
type Door struct {
	aggregate.Root
	Open bool
	Key  string
}

// DoorBuilt and DoorOpened are the payloads of its events.
type (
	DoorBuilt struct {
		Key string `json:"key"`
	}
	DoorOpened struct {
		By string `json:"by"`
	}
)

var (
	doorBuilt = aggregate.On("built", func(d *Door, e DoorBuilt) { d.Key = e.Key }).
			When(func(d *Door, _ DoorBuilt) bool { return d.Version() == 0 })

	doorOpened = aggregate.On("opened", func(d *Door, _ DoorOpened) { d.Open = true }).
			When(func(d *Door, _ DoorOpened) bool { return !d.Open })

	doors = aggregate.Define[Door]("door", doorBuilt, doorOpened)
)

// Unlock is the input of a command, and Opened its reply.
type (
	Unlock struct{ Door, Key, By string }
	Opened struct{ Version uint64 }
)

// AggregateID says whom the command is for.
func (c Unlock) AggregateID() string { return c.Door }

var errWrongKey = errors.New("the key does not fit")

var unlock = aggregate.NewCommand("door.unlock", func(_ *aggregate.Context, d *Door, c Unlock) (Opened, error) {
	if c.Key != d.Key {
		return Opened{}, errWrongKey // nothing happened
	}
	err := doorOpened.Record(d, DoorOpened{By: c.By})
	return Opened{Version: d.Version()}, err
}, aggregate.MustExist())

// An aggregate by hand: events, a command, and a repository to run it without
// actors.
func Example() {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = j.Close() }()
	repository, err := aggregate.NewRepository(j, doors, nil)
	if err != nil {
		panic(err)
	}

	door := doors.New("front")
	if err := doorBuilt.Record(door, DoorBuilt{Key: "brass"}); err != nil {
		panic(err)
	}
	if err := repository.Commit(ctx, door); err != nil {
		panic(err)
	}

	_, err = unlock.Ask(ctx, repository, Unlock{Door: "front", Key: "steel", By: "Bob"})
	fmt.Println(err, errors.Is(err, errWrongKey), aggregate.CodeOf(err))

	_, err = unlock.Ask(ctx, repository, Unlock{Door: "back", Key: "brass", By: "Ann"})
	fmt.Println(err)

	reply, err := unlock.Ask(ctx, repository, Unlock{Door: "front", Key: "brass", By: "Ann"})
	fmt.Println(reply.Version, err)

	// Output:
	// the key does not fit true rejected
	// door/back not found
	// 2 <nil>
}

// In-process choreography: a listener hears of an event once it is committed.
func ExampleListen() {
	ctx := context.Background()
	j, err := memory.Open(nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = j.Close() }()

	type Bell struct{ aggregate.Root }
	type Rung struct{ Tone string }
	rung := aggregate.On("rung", func(*Bell, Rung) {}).Enqueue()
	bells := aggregate.Define[Bell]("bell", rung)

	emitter, err := aggregate.NewEmitter(nil)
	if err != nil {
		panic(err)
	}
	aggregate.Listen(emitter, func(_ context.Context, e Rung, from aggregate.Emission) {
		fmt.Println(from.Stream, "rang", e.Tone, "at version", from.Version)
	})
	repository, err := aggregate.NewRepository(j, bells, &aggregate.RepositoryOptions{Emitter: emitter})
	if err != nil {
		panic(err)
	}

	bell := bells.New("front")
	if err := rung.Record(bell, Rung{Tone: "c"}); err != nil {
		panic(err)
	}
	fmt.Println("recorded")
	if err := repository.Commit(ctx, bell); err != nil {
		panic(err)
	}
	if err := emitter.Close(ctx); err != nil {
		panic(err)
	}

	// Output:
	// recorded
	// bell/front rang c at version 1
}

// Records of events that are no longer recorded are read as what became of them.
func ExampleSplit() {
	type Box struct {
		aggregate.Root
		Place string
	}
	type Left struct{ From string }
	type Came struct{ To string }
	type Moved struct{ From, To string } // until last year

	boxes := aggregate.Define("box",
		aggregate.On("left", func(b *Box, _ Left) { b.Place = "" }),
		aggregate.On("came", func(b *Box, e Came) { b.Place = e.To }),
		aggregate.Split(aggregate.Former[Box, Moved]("moved"), func(m Moved) []any { return []any{Left{m.From}, Came{m.To}} }),
		aggregate.Drop[Box]("painted"),
	)
	box := boxes.New("1")
	for i, rec := range []envelope.Record{
		{Name: "came", Data: []byte(`{"To":"shelf"}`)},
		{Name: "painted", Data: []byte(`{"Colour":"red"}`)},
		{Name: "moved", Data: []byte(`{"From":"shelf","To":"cellar"}`)},
	} {
		rec.Stream, rec.Version, rec.Schema, rec.Codec = boxes.Stream("1"), uint64(i)+1, 1, envelope.CodecJSON
		if err := boxes.Replay(box, &rec); err != nil {
			panic(err)
		}
	}
	fmt.Println(box.Place, box.Version())
	// Output: cellar 3
}

package aggregate_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/troupe-go/troupe/aggregate"
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

package todo

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-go/troupe/envelope"
)

// The generated code does what the directives say.
func TestGenerated(t *testing.T) {
	todo := Spec.New("1")
	if err := todo.Initialize("1", "u", "", 0, time.Time{}); !errors.Is(err, ErrNoTask) {
		t.Fatalf("got %v, want the error of the require clause", err)
	}
	steps := []error{
		todo.Initialize("1", "u", "paint", 3, time.Time{}),
		todo.Complete(), todo.Complete(),
		todo.AddTag("red"), todo.AddTag("red"),
		todo.Note("wall", []string{"first", "second"}),
		todo.Touch(),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	if err := todo.AddTag(""); err == nil {
		t.Fatal("an empty tag was not refused")
	}
	if got := todo.Version(); got != 5 {
		t.Fatalf("got version %d, want 5: a when clause was not asked", got)
	}
	snap, err := Spec.Snapshot(todo, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again := Spec.New("1")
	if err := Spec.Restore(again, &snap); err != nil {
		t.Fatal(err)
	}
	if again.notes["wall"][1] != "second" || !again.Completed || again.Tags[0] != "red" {
		t.Fatalf("restored %+v", again)
	}
}

func TestUpcast(t *testing.T) {
	rec := envelope.Record{
		Stream: Spec.Stream("1"), Version: 1, Name: "initialized", Schema: 1,
		Codec: "json", Data: []byte(`{"id":"1","task":"old"}`),
	}
	event, err := DecodeTodoEvent(&rec)
	if err != nil {
		t.Fatal(err)
	}
	want := TodoInitialized{ID: "1", UserID: "legacy", Task: "old", Priority: 1}
	if event != want {
		t.Fatalf("got %+v, want %+v", event, want)
	}
}

package imports

import (
	"errors"
	clock "time"
	"unicode/utf8"
)

var text checker

type checker struct{}

func (checker) Check(_ clock.Time, s string) error {
	if !utf8.ValidString(s) {
		return errors.New("bad UTF-8")
	}
	return nil
}

// describe says what the invoice is for.
//
//sourced:event described require errors.Join(map[bool]error{false: errors.New("bad UTF-8")}[utf8.ValidString(text)])
func (i *Invoice) describe(text string) {}

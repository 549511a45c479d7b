package statement

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Read yields each booking of r in order, or what is wrong with its line, a
// [LineError]. Another error, of r itself, is the last thing yielded. Memory is
// bounded by [MaxLineBytes], whatever r holds.
func Read(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		in := bufio.NewReaderSize(r, MaxLineBytes+2) // and CRLF
		for number := 1; ; number++ {
			text, long, err := readLine(in)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(Line{}, fmt.Errorf("line %d cannot be read: %w", number, err))
				return
			}
			if number == 1 {
				text = bytes.TrimPrefix(text, []byte("\ufeff"))
			}
			if !yieldLine(number, text, long, yield) || err != nil {
				return
			}
		}
	}
}

// yieldLine reports whether to go on.
func yieldLine(number int, text []byte, long bool, yield func(Line, error) bool) bool {
	switch {
	case long:
		return yield(Line{}, &LineError{number, fmt.Sprintf("has more than %d bytes", MaxLineBytes)})
	case len(bytes.TrimSpace(text)) == 0:
		return true
	case number == 1 && bytes.HasPrefix(bytes.ToLower(text), []byte("action,")):
		return true
	}
	line, err := parse(string(text))
	if err != nil {
		return yield(Line{}, &LineError{number, err.Error()})
	}
	line.Number = number
	return yield(line, nil)
}

// readLine returns the next line without its end. A long line is skipped. At
// the end of the input the error is io.EOF, with the last line if it had no
// end.
func readLine(in *bufio.Reader) (text []byte, long bool, err error) {
	text, err = in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = in.ReadSlice('\n')
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	return text, long || len(text) > MaxLineBytes, err
}

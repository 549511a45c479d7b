package main

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere. It is safe for
// concurrent use.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer, lines int) progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions(lines,
		progressbar.OptionSetWriter(f),
		progressbar.OptionSetDescription("booking"),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionClearOnFinish(),
	)}
}

// set moves the bar. A bar that cannot be drawn stops nothing.
func (p progress) set(n int) {
	const step = 100
	if p.bar != nil && n%step == 0 {
		_ = p.bar.Set(n)
	}
}

func (p progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

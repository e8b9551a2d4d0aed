package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a line on a terminal that says what is measured, how far the race is and how long it will take. Where there
// is no terminal it is nil, and does nothing.
type progress struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

func newProgress(f *os.File) *progress {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &progress{w: f}
}

// begin shows the line, for so many measurements to come.
func (p *progress) begin(jobs int) {
	if p == nil {
		return
	}
	p.bar = progressbar.NewOptions(jobs,
		progressbar.OptionSetWriter(p.w),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), // it takes time from the load only between measurements
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionClearOnFinish())
	p.bar.RenderBlank()
}

// next says that a measurement begins, and that the one before is done.
func (p *progress) next(doing string) {
	if p == nil {
		return
	}
	if p.bar.State().Description != "" {
		p.bar.Add(1)
	}
	p.bar.Describe(doing)
}

// stop takes the line away.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.bar.Finish()
}

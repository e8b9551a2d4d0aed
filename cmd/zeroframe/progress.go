package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a line on a terminal that shows how far a load is and how fast it goes. Where there is no terminal it is
// nil, and does nothing.
type progress struct {
	bar  *progressbar.ProgressBar
	quit chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	name   string
	unit   string
	count  func() uint64
	loaded time.Duration // time that loads were followed
	seen   uint64
	at     time.Time // of seen
}

// progressEvery is rare enough to take no time from the load.
const progressEvery = 250 * time.Millisecond

func newProgress(w io.Writer, total time.Duration) *progress {
	bar := newBar(w, total.Milliseconds())
	if bar == nil {
		return nil
	}
	p := &progress{quit: make(chan struct{}), bar: bar, unit: "messages"}
	p.done.Go(p.run)
	return p
}

// newBar returns a line that fills up, nil where there is no terminal.
func newBar(w io.Writer, total int64) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionThrottle(progressEvery),
		progressbar.OptionClearOnFinish())
}

func (p *progress) run() {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			p.bar.Finish()
			return
		case <-ticker.C:
			p.show()
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == nil {
		return
	}
	now, seen := time.Now(), p.count()
	rate := float64(seen-p.seen) / now.Sub(p.at).Seconds()
	p.loaded += now.Sub(p.at)
	p.seen, p.at = seen, now
	p.bar.Describe(fmt.Sprintf("%s: %.0f %s/s", p.name, rate, p.unit))
	p.bar.Set64(min(p.loaded.Milliseconds(), p.bar.GetMax64()-1)) // the last step would clear the line
}

// follow shows from now on what count has of messages; nil: nothing.
func (p *progress) follow(name string, count func() uint64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.count, p.at, p.seen = name, count, time.Now(), 0
}

// stop takes the line away.
func (p *progress) stop() {
	if p == nil {
		return
	}
	close(p.quit)
	p.done.Wait()
}

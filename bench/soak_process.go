package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// soakProcess is a client process.
type soakProcess struct {
	child
	in   io.WriteCloser
	news atomic.Pointer[soakNews]
	done atomic.Pointer[string] // the order carried out last
}

// goneTime is how long it may take to end: it closes its connections first, while all others close theirs.
const goneTime = time.Minute

func startSoakProcess(command []string) (*soakProcess, error) {
	p := &soakProcess{child: newChild(command)}
	p.news.Store(new(soakNews))
	p.done.Store(new(string))
	in, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	out, err := p.start(-1)
	if err != nil {
		return nil, fmt.Errorf("start the clients: %w", err)
	}
	go func() {
		p.read(out)
		p.reap()
	}()
	return p, nil
}

// read keeps the latest news until there are no more.
func (p *soakProcess) read(out *os.File) {
	defer out.Close()
	for d := json.NewDecoder(out); ; {
		n := new(soakNews)
		if d.Decode(n) != nil {
			return
		}
		old := p.news.Load()
		n.Error = cmp.Or(n.Error, old.Error)
		n.Books = cmp.Or(n.Books, old.Books)
		p.news.Store(n)
		if n.Did != "" {
			p.done.Store(&n.Did)
		}
	}
}

func (p *soakProcess) latest() *soakNews { return p.news.Load() }

// did reports whether an order was carried out, and is the last that was.
func (p *soakProcess) did(do string) bool { return *p.done.Load() == do }

func (p *soakProcess) order(o soakOrder) error {
	if err := json.NewEncoder(p.in).Encode(o); err != nil {
		return fmt.Errorf("a client process takes no orders: %w%v", err, &p.printed)
	}
	return nil
}

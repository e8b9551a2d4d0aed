//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package loop

import "time"

type poller struct{}

func openPoller() (*poller, error)                  { return nil, ErrUnsupported }
func (p *poller) close()                            {}
func (p *poller) add(int, interest) error           { return ErrUnsupported }
func (p *poller) set(int, interest, interest) error { return ErrUnsupported }
func (p *poller) remove(int, interest) error        { return ErrUnsupported }
func (p *poller) edgeTriggered() bool               { return false }
func (p *poller) wake()                             {}
func (p *poller) run(func(), func(int, readiness), func(bool) (time.Duration, bool)) error {
	return ErrUnsupported
}

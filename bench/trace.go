package bench

import "fmt"

// rareCalls: a call made less often per message than this is not named.
const rareCalls = 0.001

func syscallsOf(by string, calls map[string]uint64, messages uint64) *Syscalls {
	if messages == 0 {
		return nil
	}
	s := &Syscalls{Tracer: by, Messages: messages, Calls: calls[""], PerMessage: perMessage(calls[""], messages)}
	for name, n := range calls {
		if each := perMessage(n, messages); name != "" && each >= rareCalls {
			if s.ByName == nil {
				s.ByName = make(map[string]float64)
			}
			s.ByName[name] = each
		}
	}
	return s
}

// String says it in a line.
func (s *Syscalls) String() string {
	return fmt.Sprintf("%.2f per message (%s)", s.PerMessage, s.Tracer)
}

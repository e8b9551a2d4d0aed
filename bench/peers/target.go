package peers

import "zeroframe/bench"

// Target returns what bench.Measure needs of it. certificate is that of its Options.Pair; nil: no TLS.
func (p *Process) Target(certificate *Certificate) bench.Target {
	t := bench.Target{Name: p.Server.Name, URL: p.URL, PID: p.PID()}
	if certificate != nil && p.Options.Pair != "" {
		t.TLS = certificate.Client()
	}
	if p.tells() {
		t.Snapshot = p.Snapshot
	}
	return t
}

// For returns what a scenario asks of a server. pair is the file of NewCertificate, for scenarios with TLS.
func For(s *bench.Scenario, pair string) Options {
	o := Options{Work: Echo, Mode: Off, Size: s.Payload}
	if s.Form == bench.FanOut {
		o.Work = Topic
	}
	if s.Compress {
		o.Mode = NoTakeover
	}
	if s.TLS {
		o.Pair = pair
	}
	return o
}

// Suits returns nil, or why the server cannot do a scenario.
func (s *Server) Suits(scenario *bench.Scenario, pair string) error {
	if err := s.Can(For(scenario, pair)); err != nil {
		return err
	}
	t := bench.Target{Name: s.Name, URL: s.scheme(For(scenario, pair)) + "://"}
	return t.Suits(scenario)
}

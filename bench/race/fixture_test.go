package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"zeroframe/bench"
)

// fixture is a race as it might have been: one server that fails in one scenario, one that lacks TLS and compression,
// bounds that know no WebSocket.
func fixture() *data {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := &data{
		Format: dataFormat, Command: []string{"race", "--repeat", "5"}, Began: at, Ended: at.Add(23 * time.Minute),
		Machine: bench.Machine{Kernel: "Linux 6.18.5", Processor: "Intel Xeon", CPUs: 2, Commit: "0123456789ab"},
		Load:    bench.Runtime{GoVersion: "go1.26.8", GOMAXPROCS: 1, GOGC: "100", Loops: 1}, Cores: []int{0, 1},
		Repeat: 5, Duration: 600 * time.Millisecond, Warmup: 200 * time.Millisecond, Reference: "uWebSockets",
		Scenarios: bench.Scenarios(),
	}
	servers := []struct {
		name    string
		role    role
		slow    float64
		perConn float64
	}{
		{"zeroframe", own, 1, 262}, {"uWebSockets", peer, 1.03, 273}, {"gws", peer, 1.8, 11114}, {"gobwas", peer, 1.5, 736},
		{"coder", peer, 2.2, 24296}, {"gorilla", peer, 1.9, 17929}, {"gnet-tcp", bound, 1.4, 437}, {"c-tcp", bound, 0.95, 30},
	}
	for _, s := range servers {
		d.Servers = append(d.Servers, server{Name: s.name, Role: s.role, How: "as <" + s.name + "> documents it", Env: []string{"GOMAXPROCS=1"}})
	}
	for _, s := range d.Scenarios {
		for _, by := range servers {
			c := cell{Scenario: s.Name, Server: by.name}
			switch {
			case by.role == bound && s.WebSocket():
				c.Missing = "plain TCP, no WebSocket"
			case by.name == "gobwas" && s.TLS:
				c.Missing = "has no TLS"
			case by.name == "coder" && s.Name == "storm":
				for rep := range d.Repeat {
					c.Runs = append(c.Runs, run{Repetition: rep, Error: "server: it had ended by itself, with exit status 2"})
				}
			default:
				for rep := range d.Repeat {
					c.Runs = append(c.Runs, run{Repetition: rep, Measurement: fixedMeasurement(s, by.name, by.slow, by.perConn, rep)})
				}
			}
			d.Cells = append(d.Cells, c)
		}
	}
	return d
}

func fixedMeasurement(s bench.Scenario, server string, slow, perConn float64, rep int) *bench.Measurement {
	h := fnv.New64()
	h.Write([]byte(s.Name + server))
	noise := 1 + 0.08*(rand.New(rand.NewPCG(h.Sum64(), uint64(rep))).Float64()-0.5)
	cost := 3.5 * slow * noise * (1 + float64(s.Payload)/8000)
	m := &bench.Measurement{
		Scenario: s, Target: server, Elapsed: 600 * time.Millisecond, PerSecond: 1e6 / cost, Messages: uint64(6e5 / cost), Total: uint64(6e5 / cost),
		Client: bench.CPU{PerMillion: 2.8, Utilisation: 0.95}, Server: &bench.CPU{PerMillion: cost, Utilisation: 0.99},
	}
	if slow < 1 {
		m.Server.Utilisation = 0.8
		m.ClientBound = bench.ClientBound(m.Client.Utilisation, m.Server.Utilisation)
	}
	if s.OpenLoop() {
		m.PerSecond = s.Rate
		m.Pace = &bench.Pace{Wanted: s.Rate, Kept: slow < 2}
	}
	at := func(nines float64) time.Duration { return time.Duration(200e3 * slow * noise * math.Pow(2, nines)) }
	for nines := 0.0; nines <= 4; nines += 0.1 {
		m.Curve = append(m.Curve, bench.Quantile{Q: 1 - math.Pow(10, -nines), Value: at(nines)})
	}
	m.Curve = append(m.Curve, bench.Quantile{Q: 1, Value: at(5)})
	m.Latency = bench.Latency{P50: at(0.3), P99: at(2), P999: at(3), Max: at(5)}
	m.Memory = &bench.Memory{RSS: uint64(20e6 + perConn*float64(s.Conns))}
	if s.Conns >= 1000 {
		perConn *= noise
		m.Memory.PerConn = &perConn
	}
	return m
}

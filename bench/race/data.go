package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"zeroframe/bench"
)

// data is race.json: all that was measured, and on what. Durations are nanoseconds.
type data struct {
	Format      int              `json:"format"` // dataFormat
	Command     []string         `json:"command"`
	Began       time.Time        `json:"began"`
	Ended       time.Time        `json:"ended"`
	Interrupted bool             `json:"interrupted,omitempty"` // before all was measured
	Machine     bench.Machine    `json:"machine"`
	Load        bench.Runtime    `json:"load"`            // of this process
	Cores       []int            `json:"cores,omitempty"` // of the servers and of the load; empty: both on what there is
	Repeat      int              `json:"repeat"`
	Duration    time.Duration    `json:"duration_ns"`
	Warmup      time.Duration    `json:"warmup_ns"`
	Reference   string           `json:"reference"`
	Servers     []server         `json:"servers"`
	Scenarios   []bench.Scenario `json:"scenarios"`
	Cells       []cell           `json:"cells"` // by scenario, then by server
}

const dataFormat = 1

// server is how one contender is set up.
type server struct {
	Name    string   `json:"name"`
	Role    role     `json:"role"`
	How     string   `json:"how"`               // it is set up
	Command []string `json:"command,omitempty"` // that starts it, as of its first start
	Env     []string `json:"env,omitempty"`     // added to this process's own
}

// role is what a server is in the race.
type role string

const (
	own   role = "own"   // this project's
	peer  role = "peer"  // another WebSocket server
	bound role = "bound" // no WebSocket: what the system or a library costs below one
)

// cell is one server in one scenario.
type cell struct {
	Scenario string `json:"scenario"`
	Server   string `json:"server"`
	Missing  string `json:"missing,omitempty"` // why it cannot take part
	Runs     []run  `json:"runs,omitempty"`    // one per repetition
}

// run is one repetition of a cell: measured, or failed, or both where errors came with figures.
type run struct {
	Repetition  int                `json:"repetition"` // from 0
	Place       int                `json:"place"`      // in the order of the servers in this repetition, from 0
	Measurement *bench.Measurement `json:"measurement,omitempty"`
	Error       string             `json:"error,omitempty"`
	Others      *float64           `json:"others,omitempty"` // share of the race's cores that was not the race's, 0 to 1
}

// good reports whether the figures count.
func (r *run) good() bool { return r.Error == "" && r.Measurement != nil }

// failed tells of the first repetition that went wrong, and how many did.
func (c *cell) failed() (reason string, times int) {
	for _, r := range c.Runs {
		if r.Error == "" {
			continue
		}
		if times++; times == 1 {
			reason = r.Error
		}
	}
	return reason, times
}

// failures counts the repetitions of all cells that went wrong.
func (d *data) failures() (n int) {
	for i := range d.Cells {
		_, times := d.Cells[i].failed()
		n += times
	}
	return n
}

// measured reports whether there is anything to report.
func (d *data) measured() bool {
	return slices.ContainsFunc(d.Cells, func(c cell) bool { return len(c.Runs) > 0 })
}

// untraced is why measurements have no system calls that were to be counted, of the first that has not; "": of none.
func (d *data) untraced() string {
	for i := range d.Cells {
		for _, r := range d.Cells[i].Runs {
			if r.Measurement != nil && r.Measurement.Untraced != "" {
				return "System calls could not be counted: " + oneLine(r.Measurement.Untraced)
			}
		}
	}
	return ""
}

// cell returns that of a server in a scenario, nil if there is none.
func (d *data) cell(scenario, server string) *cell {
	for i := range d.Cells {
		if c := &d.Cells[i]; c.Scenario == scenario && c.Server == server {
			return c
		}
	}
	return nil
}

// server returns the one of a name, nil if there is none.
func (d *data) server(name string) *server {
	for i := range d.Servers {
		if d.Servers[i].Name == name {
			return &d.Servers[i]
		}
	}
	return nil
}

func readData(path string) (*data, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := new(data)
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.Format != dataFormat {
		return nil, fmt.Errorf("%s has format %d, and this program reads %d", path, d.Format, dataFormat)
	}
	if len(d.Servers) == 0 || len(d.Scenarios) == 0 {
		return nil, fmt.Errorf("%s has no servers or no scenarios", path)
	}
	if len(d.Cells) == 0 {
		return nil, fmt.Errorf("%s has no cells: nothing was measured", path)
	}
	return d, nil
}

func (d *data) write(path string) error {
	raw, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o666)
}

package main

import (
	"fmt"
	"slices"
	"strings"
)

// verdict says in words how this project's server did: against the reference in CPU per message and in p99, and against
// the cheapest of the other WebSocket servers. A difference counts as one when every repetition agrees on its sign.
func verdict(all [][]row, reference string) (lines []string) {
	var cheapest, beaten, unkept []string
	cost := comparison{figure: "CPU per message"}
	tail := comparison{figure: "p99"}
	self := ""
	for _, rows := range all {
		us := ownRow(rows)
		if us == nil {
			continue
		}
		self = us.server.Name
		if us.behind() || behindIn(rows, reference) { // what queues is handled in batches, and costs less
			unkept = append(unkept, us.scenario.Name)
			continue
		}
		cost.add(us.scenario.Name, us.relative)
		tail.add(us.scenario.Name, us.relative99)
		best := cheapestPeer(rows)
		if best == nil {
			continue
		}
		if us.cost().Median <= best.cost().Median {
			cheapest = append(cheapest, us.scenario.Name)
		} else {
			beaten = append(beaten, fmt.Sprintf("%s (%s %s µs, ours %s)", us.scenario.Name, best.server.Name, perMicro(best.cost().Median), perMicro(us.cost().Median)))
		}
	}
	if self == "" {
		return nil
	}
	if self != reference {
		lines = append(lines, cost.lines(self, reference)...)
		lines = append(lines, tail.lines(self, reference)...)
	}
	if len(unkept) > 0 {
		lines = append(lines, fmt.Sprintf("Not compared, for the fixed rate was not kept: %s.", some(unkept)))
	}
	if n := len(cheapest) + len(beaten); n > 0 {
		lines = append(lines, fmt.Sprintf("CPU per message, cheapest of all WebSocket servers by the medians: in %d of %d scenarios; not in: %s.", len(cheapest), n, some(beaten)))
	}
	return lines
}

// agreeing is how many repetitions there must be for their agreement to say something.
const agreeing = 3

// comparison sorts the scenarios by how a figure of ours compares with the reference's.
type comparison struct {
	figure              string
	below, above, level []string // scenarios, with the median of the ratios
}

func (c *comparison) add(scenario string, relative spread) {
	if relative == nil {
		return
	}
	entry := scenario + " " + ratio(relative.Median)
	switch {
	case relative.N < agreeing:
		c.level = append(c.level, entry)
	case relative.Max < 1:
		c.below = append(c.below, entry)
	case relative.Min > 1:
		c.above = append(c.above, entry)
	default:
		c.level = append(c.level, entry)
	}
}

func (c *comparison) lines(self, reference string) []string {
	n := len(c.below) + len(c.above) + len(c.level)
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s of %s over %s's, in %d scenarios. Below 1 in every repetition: %s. Above 1 in every repetition: %s. Repetitions disagree or are fewer than %d, so no difference is established: %s.",
		c.figure, self, reference, n, some(c.below), some(c.above), agreeing, some(c.level))}
}

func some(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// ownRow is that of this project's server; nil if it has no cost.
func ownRow(rows []row) *row {
	for i := range rows {
		if rows[i].server.Role == own && rows[i].cost() != nil {
			return &rows[i]
		}
	}
	return nil
}

// behindIn reports whether a server did not keep a fixed rate.
func behindIn(rows []row, server string) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.server.Name == server && r.behind() })
}

// cheapestPeer is the row of the cheapest server that is neither ours nor a bound, and kept its rate; nil if none has a cost.
func cheapestPeer(rows []row) (best *row) {
	for i := range rows {
		r := &rows[i]
		if r.server.Role == peer && r.cost() != nil && !r.behind() && (best == nil || r.cost().Median < best.cost().Median) {
			best = r
		}
	}
	return best
}

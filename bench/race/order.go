package main

// job is one measurement to make.
type job struct {
	repetition, scenario, server int // indices
	place                        int // of the server in its scenario this time
}

// order lists the measurements of a race: each repetition goes through all scenarios, and in each through all servers that
// take part, so that a drift of the machine meets all of them alike. Who is first rotates from scenario to scenario and from
// repetition to repetition, and every second repetition goes round the other way, so that nobody always follows the
// same one.
func order(repetitions, scenarios, servers int, takesPart func(scenario, server int) bool) (jobs []job) {
	for rep := range repetitions {
		for s := range scenarios {
			var list []int
			for i := range servers {
				if takesPart(s, i) {
					list = append(list, i)
				}
			}
			n := len(list)
			for place := range n {
				at := place
				if rep%2 == 1 {
					at = n - 1 - place
				}
				// The step over a repetition spreads the first places over all servers, however few repetitions there are.
				shift := s + rep*max(1, n/max(1, repetitions))
				jobs = append(jobs, job{rep, s, list[(at+shift)%n], place})
			}
		}
	}
	return jobs
}

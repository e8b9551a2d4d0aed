package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseScenario reads one of Scenarios by its name, or one of a user's own:
//
//	[FORM:]CONNS:PAYLOAD:INFLIGHT[:PATH][,OPTION]...
//
// such as 100:32:1, 1000:1KiB:64,rate=20000, fanout:1000:32:8 or idle:10000:32:1,from=2000. FORM is echo, fanout, storm,
// idle or pings. The options are text, binary, random, json, cjk, deflate, tls, rate=MESSAGES PER SECOND and from=CONNS.
// Its name is what it was read from, its title what Describe says. Errors about what is well written and cannot be are
// *ConfigError.
func ParseScenario(s string) (Scenario, error) {
	list := Scenarios()
	if i := slices.IndexFunc(list, func(x Scenario) bool { return x.Name == s }); i >= 0 {
		return list[i], nil
	}
	if !strings.Contains(s, ":") {
		return Scenario{}, fmt.Errorf("%q is no scenario by its name, nor [form:]conns:payload:inflight[:path][,option]", s)
	}
	x := Scenario{Name: s}
	size, options, _ := strings.Cut(s, ",")
	if first, rest, _ := strings.Cut(size, ":"); x.Form.UnmarshalText([]byte(first)) == nil {
		size = rest
	}
	var err error
	if x.Row, err = parseRow(size); err != nil {
		return x, err
	}
	for option := range strings.SplitSeq(options, ",") {
		if err := x.set(option); err != nil {
			return x, fmt.Errorf("%q: %w", s, err)
		}
	}
	x.Title = x.Describe()
	return x, x.Check()
}

// set applies an option.
func (s *Scenario) set(option string) error {
	name, value, valued := strings.Cut(option, "=")
	switch {
	case option == "":
	case option == "text":
		s.Text = true
	case option == "binary":
		s.Text = false
	case option == "deflate":
		s.Compress = true
	case option == "tls":
		s.TLS = true
	case slices.Contains(kinds, option):
		return s.Kind.UnmarshalText([]byte(option))
	case name == "rate" && valued:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is not a rate above 0", value)
		}
		s.Rate = v
	case name == "from" && valued:
		v, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a number of connections", value)
		}
		s.From = v
	default:
		return fmt.Errorf("no option %q", option)
	}
	return nil
}

// Spec writes a scenario as ParseScenario reads it, whatever its name.
func (s *Scenario) Spec() string {
	var b strings.Builder
	if s.Form != Echo {
		fmt.Fprintf(&b, "%v:", s.Form)
	}
	fmt.Fprintf(&b, "%d:%s:%d", s.Conns, strings.ReplaceAll(FormatSize(int64(s.Payload)), " ", ""), s.InFlight)
	if s.Path != "" {
		fmt.Fprintf(&b, ":%s", s.Path)
	}
	for _, o := range s.options("rate=", "from=") {
		fmt.Fprintf(&b, ",%s", o)
	}
	return b.String()
}

// Describe says what a scenario does in a few words, "1000 x 1 KiB x1, text, cjk".
func (s *Scenario) Describe() string {
	words := []string{s.Row.String()}
	if s.Form != Echo {
		words[0] = s.Form.String() + ", " + words[0]
	}
	return strings.Join(append(words, s.options("messages/s ", "from ")...), ", ")
}

// String returns the scenario's name, or its Spec if it has none.
func (s *Scenario) String() string { return cmp.Or(s.Name, s.Spec()) }

func (s *Scenario) options(rate, from string) (list []string) {
	if s.Text {
		list = append(list, "text")
	}
	if s.Kind != Random {
		list = append(list, s.Kind.String())
	}
	if s.Compress {
		list = append(list, "deflate")
	}
	if s.TLS {
		list = append(list, "tls")
	}
	if s.Rate > 0 {
		list = append(list, rate+strconv.FormatFloat(s.Rate, 'f', -1, 64))
	}
	if s.From > 0 {
		list = append(list, from+strconv.Itoa(s.From))
	}
	return list
}

package bench

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestScenariosCanAllBeMeasured(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if s.Name == "" || strings.ContainsAny(s.Name, " :,=/") || s.Title == "" || seen[s.Name] {
			t.Errorf("name %q, title %q", s.Name, s.Title)
		}
		seen[s.Name] = true
		if got, err := ParseScenario(s.Name); got != s || err != nil {
			t.Errorf("%s is read as %+v, %v", s.Name, got, err)
		}
	}
	for _, row := range []string{"100:32:1", "1000:32:1", "1000:1024:1", "10000:1024:1", "1000:32:16", "100:16384:1", "10:1048576:1"} {
		want := mustParse(t, row)
		found := false
		for _, s := range Scenarios() {
			want.Name, want.Title = s.Name, s.Title
			found = found || s == want
		}
		if !found {
			t.Errorf("%s is missing", row)
		}
	}
}

func TestScenariosAreWrittenAsTheyAreRead(t *testing.T) {
	for _, s := range Scenarios() {
		back, err := ParseScenario(s.Spec())
		if err != nil {
			t.Errorf("%s: %v", s.Spec(), err)
		}
		back.Name, back.Title = s.Name, s.Title
		if back != s {
			t.Errorf("%s is read as %+v, want %+v", s.Spec(), back, s)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var decoded Scenario
		if err := json.Unmarshal(b, &decoded); err != nil || decoded != s {
			t.Errorf("%s is read as %+v, %v", b, decoded, err)
		}
	}
}

func TestAUsersOwnScenarioIsRead(t *testing.T) {
	for spec, want := range map[string]Scenario{
		"100:32:1":                         {Row: Row{"", 100, 32, 1}, Title: "100 x 32 B x1"},
		"echo:7:1KiB:2:/send,text,cjk":     {Row: Row{"/send", 7, 1024, 2}, Text: true, Kind: CJK, Title: "7 x 1 KiB x2 /send, text, cjk"},
		"100:1KiB:1,json,deflate,tls":      {Row: Row{"", 100, 1024, 1}, Kind: JSON, Compress: true, TLS: true, Title: "100 x 1 KiB x1, json, deflate, tls"},
		"100:32:64,rate=2.5":               {Row: Row{"", 100, 32, 64}, Rate: 2.5, Title: "100 x 32 B x64, messages/s 2.5"},
		"idle:20:32:1,from=10,text,binary": {Form: Idle, Row: Row{"", 20, 32, 1}, From: 10, Title: "idle, 20 x 32 B x1, from 10"},
		"pings:20:0:1":                     {Form: Pings, Row: Row{"", 20, 0, 1}, Title: "pings, 20 x 0 B x1"},
	} {
		want.Name = spec
		if got, err := ParseScenario(spec); got != want || err != nil {
			t.Errorf("%s is read as %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for spec, field := range map[string]string{ // "": it cannot be read
		"": "", "nothing": "", "100:32": "", "flood:100:32:1": "", "100:32:1,fast": "", "100:32:1,rate": "", "100:32:1,rate=-1": "", "100:32:1,rate=NaN": "",
		"100:32:1,from=x":         "",
		"100:32:1,rate=1e9":       "Rate",
		"fanout:10:32:1,rate=100": "Rate",
		"idle:10:32:1,rate=100":   "Rate",
		"fanout:10:5:1":           "Payload",
		"fanout:10:32:1,deflate":  "Compress",
		"100:32:1,from=10":        "From",
		"idle:10:32:1,from=10":    "From",
		"pings:10:126:1":          "Payload",
		"0:32:1":                  "Conns",
	} {
		got, err := ParseScenario(spec)
		var config *ConfigError
		if err == nil || errors.As(err, &config) != (field != "") || config != nil && config.Field != field {
			t.Errorf("%q is read as %+v, %v; want an error of %q", spec, got, err, field)
		}
	}
}

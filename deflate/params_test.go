package deflate

import (
	"errors"
	"fmt"
	"testing"
)

// RFC 7692, section 7.1. The answers are given in full: their order is ours.
func TestServerAnswersTheFirstAcceptableOffer(t *testing.T) {
	both := Config{ServerContextTakeover: true, ClientContextTakeover: true}
	small := Config{ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 11, ClientMaxWindowBits: 10}
	const alone = "; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct {
		name   string
		config Config
		offer  string
		answer string // "" declines
		params Params
	}{
		{"nothing offered", both, "", "", Params{}},
		{"another extension", both, "x-webkit-deflate-frame, mux; a=1", "", Params{}},
		{"bare", both, "permessage-deflate", "permessage-deflate", Params{false, false, 15, 15}},
		{"bare, no takeover by default", Config{}, "permessage-deflate", Name + alone, Params{true, true, 15, 15}},
		{"what browsers send", Config{}, "permessage-deflate; client_max_window_bits",
			Name + alone + "; client_max_window_bits=15", Params{true, true, 15, 15}},
		{"what browsers send, takeover", both, "permessage-deflate; client_max_window_bits",
			Name + "; client_max_window_bits=15", Params{false, false, 15, 15}},

		{"server_no_context_takeover is honoured", both, "permessage-deflate; server_no_context_takeover",
			Name + "; server_no_context_takeover", Params{true, false, 15, 15}},
		{"client_no_context_takeover is taken at its word", both, "permessage-deflate; client_no_context_takeover",
			Name + "; client_no_context_takeover", Params{false, true, 15, 15}},
		{"server_max_window_bits is honoured", both, "permessage-deflate; server_max_window_bits=9",
			Name + "; server_max_window_bits=9", Params{false, false, 9, 15}},
		{"server_max_window_bits 8", both, "permessage-deflate; server_max_window_bits=8",
			Name + "; server_max_window_bits=8", Params{false, false, 8, 15}},
		{"server_max_window_bits 15 is answered too", both, "permessage-deflate; server_max_window_bits=15",
			Name + "; server_max_window_bits=15", Params{false, false, 15, 15}},
		{"quoted", both, `permessage-deflate; server_max_window_bits="10"`,
			Name + "; server_max_window_bits=10", Params{false, false, 10, 15}},
		{"client_max_window_bits with a value", both, "permessage-deflate; client_max_window_bits=12",
			Name + "; client_max_window_bits=12", Params{false, false, 15, 12}},
		{"all four", both, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; client_no_context_takeover; server_no_context_takeover",
			Name + alone + "; server_max_window_bits=10; client_max_window_bits=9", Params{true, true, 10, 9}},

		{"the server's own windows", small, "permessage-deflate; client_max_window_bits",
			Name + "; server_max_window_bits=11; client_max_window_bits=10", Params{false, false, 11, 10}},
		{"the smaller of the two, theirs", small, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
			Name + "; server_max_window_bits=9; client_max_window_bits=9", Params{false, false, 9, 9}},
		{"the smaller of the two, ours", small, "permessage-deflate; client_max_window_bits=14; server_max_window_bits=14",
			Name + "; server_max_window_bits=11; client_max_window_bits=10", Params{false, false, 11, 10}},
		{"a client that cannot limit its window", small, "permessage-deflate",
			Name + "; client_no_context_takeover; server_max_window_bits=11", Params{false, true, 11, 15}},

		{"second offer", both, "permessage-deflate; server_max_window_bits=7, permessage-deflate", Name, Params{false, false, 15, 15}},
		{"second offer, the first unknown", both, "permessage-deflate; unknown, other, permessage-deflate; server_no_context_takeover",
			Name + "; server_no_context_takeover", Params{true, false, 15, 15}},
		{"the first of two", both, "permessage-deflate; server_max_window_bits=10, permessage-deflate",
			Name + "; server_max_window_bits=10", Params{false, false, 10, 15}},

		{"unknown parameter", both, "permessage-deflate; bogus", "", Params{}},
		{"case matters", both, "permessage-deflate; Server_no_context_takeover", "", Params{}},
		{"unknown parameter among known", both, "permessage-deflate; client_max_window_bits; bogus=1", "", Params{}},
		{"no value expected", both, "permessage-deflate; server_no_context_takeover=1", "", Params{}},
		{"no value expected, client", both, "permessage-deflate; client_no_context_takeover=true", "", Params{}},
		{"value missing", both, "permessage-deflate; server_max_window_bits", "", Params{}},
		{"repeated", both, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", Params{}},
		{"repeated, client", both, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "", Params{}},
		{"repeated bits", both, "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "", Params{}},
		{"repeated bits without value", both, "permessage-deflate; client_max_window_bits; client_max_window_bits", "", Params{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			offers, err := ParseOffers(c.offer)
			if err != nil {
				t.Fatal(err)
			}
			p, answer, ok := Negotiate(offers, c.config)
			if ok != (c.answer != "") || answer != c.answer || p != c.params {
				t.Errorf("%q: %+v %q %v", c.offer, p, answer, ok)
			}
		})
	}
}

func TestInvalidWindowBitsDeclineTheOffer(t *testing.T) {
	for _, value := range []string{"0", "7", "16", "08", "8.", "+9", "-9", "015", "1", "99", "150", "9a", "a", "0x9", "1:"} {
		for _, name := range []string{serverMaxWindowBits, clientMaxWindowBits} {
			offers := []Offer{{Name, []Param{{name, value}}}}
			if p, answer, ok := Negotiate(offers, Config{}); ok {
				t.Errorf("%s=%s: %+v %q", name, value, p, answer)
			}
		}
	}
}

// What a client of ours offers and a server of ours answers is accepted, with
// the same parameters on both sides, for every two configurations.
func TestClientAndServerAgree(t *testing.T) {
	var configs []Config
	for i := range 4 {
		for _, s := range []int{0, 8, 9, 12, 15} {
			for _, c := range []int{0, 8, 10, 14, 15} {
				configs = append(configs, Config{i&1 != 0, i&2 != 0, s, c})
			}
		}
	}
	for _, client := range configs {
		offers, err := ParseOffers(client.Offer())
		if err != nil {
			t.Fatal(err)
		}
		for _, server := range configs {
			want, answer, ok := Negotiate(offers, server)
			if !ok {
				t.Fatalf("%+v declines %q", server, client.Offer())
			}
			got, err := client.Accept(answer)
			if err != nil || got != want {
				t.Fatalf("%q answered by %q: %+v, %v; the server has %+v", client.Offer(), answer, got, err, want)
			}
			if got.ServerMaxWindowBits > windowBits(min(client.serverBits(), server.serverBits())) || got.ClientMaxWindowBits > client.clientBits() ||
				!client.ServerContextTakeover && !got.ServerNoContextTakeover || !server.ClientContextTakeover && !got.ClientNoContextTakeover {
				t.Fatalf("%+v and %+v agree on %+v", client, server, got)
			}
			// No server keeps more than it is configured for.
			if got.ClientHistory(maxWindow) > 1<<server.clientBits() {
				t.Fatalf("%+v keeps %d bytes", server, got.ClientHistory(maxWindow))
			}
		}
	}
}

// RFC 7692, sections 7 and 7.1: what is not an answer to the offer fails the
// connection.
func TestClientRefusesWhatItDidNotOffer(t *testing.T) {
	open := Config{ServerContextTakeover: true, ClientContextTakeover: true}
	for _, c := range []struct {
		config Config
		answer string
	}{
		{open, ""},
		{open, "mux"},
		{open, "permessage-deflate, permessage-deflate"},
		{open, "permessage-deflate, mux"},
		{open, "permessage-deflate; bogus"},
		{open, "permessage-deflate; server_max_window_bits"},
		{open, "permessage-deflate; client_max_window_bits"},
		{open, "permessage-deflate; server_max_window_bits=7"},
		{open, "permessage-deflate; client_max_window_bits=16"},
		{open, "permessage-deflate; server_no_context_takeover; server_no_context_takeover"},
		{open, "permessage-deflate; server_no_context_takeover=1"},
		{Config{}, "permessage-deflate"}, // server_no_context_takeover was asked
		{Config{ServerContextTakeover: true, ServerMaxWindowBits: 10}, "permessage-deflate"},
		{Config{ServerContextTakeover: true, ServerMaxWindowBits: 10}, "permessage-deflate; server_max_window_bits=11"},
		{Config{ServerContextTakeover: true, ClientMaxWindowBits: 10}, "permessage-deflate; client_max_window_bits=11"},
	} {
		if p, err := c.config.Accept(c.answer); !errors.Is(err, ErrResponse) {
			t.Errorf("%q to %q: %+v, %v", c.answer, c.config.Offer(), p, err)
		}
	}
	if _, err := open.Accept("permessage-deflate;"); !errors.Is(err, ErrMalformed) {
		t.Errorf("malformed answer: %v", err)
	}
}

func TestClientTakesWhatAServerMayAddUnasked(t *testing.T) {
	open := Config{ServerContextTakeover: true, ClientContextTakeover: true}
	for answer, want := range map[string]Params{
		"permessage-deflate":                               {false, false, 15, 15},
		"permessage-deflate; server_no_context_takeover":   {true, false, 15, 15},
		"permessage-deflate; client_no_context_takeover":   {false, true, 15, 15},
		"permessage-deflate; server_max_window_bits=10":    {false, false, 10, 15},
		"permessage-deflate; client_max_window_bits=\"9\"": {false, false, 15, 9},
	} {
		if p, err := open.Accept(answer); err != nil || p != want {
			t.Errorf("%q: %+v, %v", answer, p, err)
		}
	}
	// A client that keeps its window small need not be told to.
	p, err := Config{ServerContextTakeover: true, ClientContextTakeover: true, ClientMaxWindowBits: 10}.Accept(Name)
	if want := (Params{false, false, 15, 10}); err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestHistoryOfTheNegotiatedWindow(t *testing.T) {
	for _, c := range []struct {
		p              Params
		most           int
		server, client int
	}{
		{Params{true, true, 15, 15}, 1 << 20, 0, 0},
		{Params{false, false, 15, 15}, 1 << 20, 32768, 32768},
		{Params{false, false, 15, 15}, DefaultHistory, 4096, 4096},
		{Params{false, false, 9, 8}, DefaultHistory, 512, 256},
		{Params{false, true, 12, 8}, 0, 0, 0},
		{Params{true, false, 12, 12}, -1, 0, 0},
	} {
		if s, cl := c.p.ServerHistory(c.most), c.p.ClientHistory(c.most); s != c.server || cl != c.client {
			t.Errorf("%+v, at most %d: %d and %d", c.p, c.most, s, cl)
		}
	}
}

func TestConfigNamesBitsOutOfRange(t *testing.T) {
	for bits := -2; bits <= 20; bits++ {
		ok := bits == 0 || bits >= 8 && bits <= 15
		for _, c := range []Config{{ServerMaxWindowBits: bits}, {ClientMaxWindowBits: bits}} {
			if err := c.Check(); (err == nil) != ok {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
}

func ExampleNegotiate() {
	offers, err := ParseOffers("permessage-deflate; server_max_window_bits=10, permessage-deflate")
	if err != nil {
		panic(err)
	}
	params, answer, ok := Negotiate(offers, Config{ServerContextTakeover: true})
	fmt.Println(ok, answer)
	fmt.Println(params.ServerHistory(DefaultHistory), params.ClientHistory(maxWindow))
	// Output:
	// true permessage-deflate; client_no_context_takeover; server_max_window_bits=10
	// 1024 0
}

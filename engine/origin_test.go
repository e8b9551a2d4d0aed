package engine_test

import (
	"net/http"
	"testing"

	"zeroframe/engine"
)

// admits reports whether a request for path, to host, from a page of origin ("" for none) is upgraded.
func (s *server) admits(path, host string, origins ...string) bool {
	s.t.Helper()
	fields := []string{"Host: " + host, upgradeField, connectField, keyField, versionField}
	for _, o := range origins {
		fields = append(fields, "Origin: "+o)
	}
	c := s.connect()
	defer c.Close()
	c.send([]byte(request("GET "+path, fields...)))
	resp, _ := c.readAnswer("GET")
	if resp.StatusCode != 101 && resp.StatusCode != 403 {
		s.t.Fatalf("%d", resp.StatusCode)
	}
	return resp.StatusCode == 101
}

type originCase struct {
	host, origin string
	want         bool
}

func TestPagesOfTheSameHostAreAdmitted(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		for _, tt := range []originCase{
			{"example.test", "https://example.test", true},
			{"example.test", "http://example.test", true},
			{"example.test", "HTTP://EXAMPLE.test", true},
			{"Example.Test:8080", "http://example.test:8080", true},
			{"example.test:443", "https://example.test", true},
			{"example.test:80", "http://example.test", true},
			{"[::1]:8080", "http://[::1]:8080", true},
			{"example.test", "https://example.test:8443", false},
			{"example.test:8080", "http://example.test", false},
			{"example.test", "https://sub.example.test", false},
			{"example.test", "https://example.test.evil", false},
			{"example.test", "https://evilexample.test", false},
			{"example.test", "https://example.test@evil", false},
			{"example.test", "https://evil/example.test", false},
			{"example.test", "null", false},
			{"example.test", "", false},
			{"example.test", "example.test", false},
			{"example.test", "file://example.test", false},
		} {
			if got := s.admits("/", tt.host, tt.origin); got != tt.want {
				t.Errorf("Origin %q at %s: %v", tt.origin, tt.host, got)
			}
		}
		if !s.admits("/", "example.test") {
			t.Error("a client that is no browser sends no Origin, and was refused")
		}
		if s.admits("/", "example.test", "https://example.test", "https://evil.test") || s.admits("/", "example.test", "https://evil.test", "https://example.test") {
			t.Error("two Origin fields were admitted")
		}
	})
}

func TestAllowedOriginsAreAdmittedBesidesTheSameHost(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithAllowedOrigins("https://App.example.com", "http://dev.test:3000", "https://*.Example.org", "https://*.ports.test:8443", "https://own.test:443"))
		s.handle("/", newEcho())
		for _, tt := range []originCase{
			{"api.test", "https://api.test", true},
			{"api.test", "https://app.example.com", true},
			{"api.test", "HTTPS://APP.EXAMPLE.COM", true},
			{"api.test", "http://app.example.com", false},
			{"api.test", "https://app.example.com:8443", false},
			{"api.test", "http://dev.test:3000", true},
			{"api.test", "http://dev.test", false},
			{"api.test", "https://own.test", true},
			{"api.test", "https://a.example.org", true},
			{"api.test", "https://a.b.EXAMPLE.org", true},
			{"api.test", "https://example.org", false},
			{"api.test", "https://.example.org", false},
			{"api.test", "https://evilexample.org", false},
			{"api.test", "https://a.example.org.evil", false},
			{"api.test", "http://a.example.org", false},
			{"api.test", "https://a.ports.test:8443", true},
			{"api.test", "https://a.ports.test", false},
			{"api.test", "https://other.test", false},
			{"api.test", "null", false},
		} {
			if got := s.admits("/", tt.host, tt.origin); got != tt.want {
				t.Errorf("Origin %q at %s: %v", tt.origin, tt.host, got)
			}
		}
		if s.admits("/", "api.test", "https://app.example.com", "https://evil.test") {
			t.Error("two Origin fields were admitted")
		}
		if !s.admits("/", "api.test") {
			t.Error("no Origin was refused")
		}
	})
}

func TestCheckOriginDecidesAlone(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		check := func(r *http.Request) bool {
			return r.PathValue("room") != "" && r.RemoteAddr != "" && r.Header.Get("Origin") == "https://chosen.test"
		}
		s.handle("/{room}", newEcho(), engine.WithCheckOrigin(check))
		for _, tt := range []originCase{
			{"example.test", "https://chosen.test", true},
			{"example.test", "https://example.test", false}, // the same host, but the function said no
			{"example.test", "https://other.test", false},
		} {
			if got := s.admits("/red", tt.host, tt.origin); got != tt.want {
				t.Errorf("Origin %q at %s: %v", tt.origin, tt.host, got)
			}
		}
	})
}

// A route's rule about origins takes the place of the engine's, whichever of the three options each is.
func TestTheOriginRuleOfARouteReplacesTheEngines(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		never := func(*http.Request) bool { return false }
		for name, ofEngine := range map[string]engine.Option{
			"any":     engine.WithAnyOrigin(),
			"allowed": engine.WithAllowedOrigins("https://engine.test"),
			"check":   engine.WithCheckOrigin(never),
		} {
			s := start(ofEngine)
			s.handle("/inherits", newEcho())
			s.handle("/any", newEcho(), engine.WithAnyOrigin())
			s.handle("/allowed", newEcho(), engine.WithAllowedOrigins("https://route.test"))
			s.handle("/check", newEcho(), engine.WithCheckOrigin(never))
			s.handle("/same", newEcho(), engine.WithCheckOrigin(nil))
			for _, tt := range []struct {
				path, origin string
				want         bool
			}{
				{"/inherits", "https://engine.test", name != "check"},
				{"/inherits", "https://other.test", name == "any"},
				{"/any", "https://other.test", true},
				{"/any", "null", true},
				{"/allowed", "https://route.test", true},
				{"/allowed", "https://engine.test", false},
				{"/allowed", "https://other.test", false},
				{"/check", "https://example.test", false},
				{"/same", "https://example.test", true},
				{"/same", "https://engine.test", false},
			} {
				if got := s.admits(tt.path, "example.test", tt.origin); got != tt.want {
					t.Errorf("engine %s, %s from %s: %v", name, tt.path, tt.origin, got)
				}
			}
		}
	})
}

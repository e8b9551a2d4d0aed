package engine_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// named greets with the pattern it was registered for.
type named struct {
	engine.NopHandler
	pattern string
}

func (h named) OnOpen(c *engine.Conn) { c.SendText(h.pattern) }

// namedUpgrader is named, and has an http.Request made for each connection.
type namedUpgrader struct{ named }

func (namedUpgrader) OnUpgrade(*engine.Upgrade) error { return nil }

// routed asks for a target and returns the status with the pattern whose handler answered, or where it redirects.
func (s *server) routed(method, host, target string) string {
	s.t.Helper()
	c := s.connect()
	defer c.Close()
	c.send([]byte(request(method+" "+target, "Host: "+host, upgradeField, connectField, keyField, versionField)))
	resp, _ := c.readAnswer(method)
	switch {
	case resp.StatusCode == 101:
		return "101 " + string(c.next().payload)
	case resp.StatusCode/100 == 3:
		return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location"))
	case resp.StatusCode == 405:
		return "405 " + resp.Header.Get("Allow")
	}
	return fmt.Sprint(resp.StatusCode)
}

// asServeMux answers the same question with net/http alone.
func asServeMux(patterns []string, method, host, target string) string {
	mux := http.NewServeMux()
	for _, p := range patterns {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet { // a handshake is a GET, whatever the pattern admits
				w.Header().Set("Allow", "GET")
				w.WriteHeader(405)
				return
			}
			w.Header().Set("Pattern", p)
			w.WriteHeader(101)
		})
	}
	if target == "http://example.test" { // RFC 9110, section 4.2.3: an empty path is the root, which ServeMux would redirect to
		target += "/"
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return "400"
	}
	req := &http.Request{Method: method, URL: u, RequestURI: target, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}
	if u.Host != "" {
		req.Host = u.Host
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, req)
	switch {
	case w.Header().Get("Pattern") != "":
		return "101 " + w.Header().Get("Pattern")
	case w.Code/100 == 3:
		return fmt.Sprint(w.Code, " ", w.Header().Get("Location"))
	case w.Code == 405:
		return "405 " + w.Header().Get("Allow")
	}
	return fmt.Sprint(w.Code)
}

var routeSets = []struct {
	name     string
	patterns []string
}{
	{"literals", []string{"/{$}", "/echo", "/a/b", "/é", "/a|b", "/with.dot", "/q=1", "/x/{$}"}},
	{"everything", []string{"/", "/echo", "/a/b/"}},
	{"trees", []string{"/a/", "/a/b", "/a/b/c/", "/tree/", "/echo"}},
	{"trees and their roots", []string{"/", "/{$}", "/a/{$}", "/a/", "/tree/", "/a/b", "/all/{rest...}", "/x/{$}", "/y/{z}/"}},
	{"roots and their trees", []string{"/{$}", "/", "/a/", "/a/{$}", "/tree/{$}", "/a/b/{x...}", "/x/", "/a//", "/y/z/"}},
	{"wildcards", []string{"/a/{x}", "/a/b", "/y/{z}", "/all/{rest...}", "/e%2Fcho", "/echo", "/a/{x}/{$}"}},
	{"methods", []string{"GET /echo", "/echo", "POST /a/b", "GET /a/{x}", "/tree/", "DELETE /tree/x"}},
	{"hosts", []string{"/echo", "example.test/echo", "example.test/a/", "/a/b", "GET other.test/{$}"}},
	{"literal, then general", []string{"/echo", "/{$}", "GET /a/{x}"}},
	{"escapes", []string{"/a%2Fb", "/caf%C3%A9", "/%65cho", "/100%"}},
	{"unclean", []string{"/a//b", "/./echo", "/a/../echo", "/a/.", "//tree"}},
}

var routeTargets = []string{
	"/", "/echo", "/echo/", "/echo?x=y", "/echo?", "//echo", "/./echo", "/a/../echo", "/%65cho", "/e%63ho", "/Echo", "/echo%2F", "/e%2Fcho",
	"/a", "/a/", "/a/b", "/a/b/", "/a//b", "/a/b/c", "/a/b/c/", "/a/b/../b", "/a%2Fb", "/a/%62", "/a/.", "/a/..",
	"/tree", "/tree/", "/tree/x", "/tree?q=1", "//tree", "/all", "/all/", "/all/x/y", "/y/z", "/é", "/%C3%A9", "/caf%C3%A9", "/café",
	"/a|b", "/a%7Cb", "/with.dot", "/q=1", "/%71=1", "/x", "/x/", "/none", "/{$}", "/%7B$%7D", "/+", "/;a", "/%00", "/%ff", "*",
	"http://example.test/echo", "http://other.test/", "ws://example.test/echo", "http://example.test", "http://third.test/a/b?x",
}

// The answers are those of ServeMux, whether the path was looked up in the table of literal paths or by a ServeMux.
func TestRoutingAnswersAsServeMux(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		targets := routeTargets
		for i, set := range routeSets {
			s := start(engine.WithLoops(1))
			s.t = t
			for i, p := range set.patterns {
				if i%2 == 0 {
					s.handle(p, named{pattern: p})
				} else {
					s.handle(p, namedUpgrader{named{pattern: p}})
				}
			}
			for j, target := range targets {
				if strings.HasSuffix(t.Name(), "cut") && (i+j)%5 != 0 {
					continue // what is cut does not depend on the route
				}
				for _, host := range []string{"example.test", "other.test:8080"} {
					for _, method := range []string{"GET", "POST"} {
						want := asServeMux(set.patterns, method, host, target)
						if got := s.routed(method, host, target); got != want {
							t.Errorf("%s: %s %s for %s: %q, ServeMux says %q", set.name, method, target, host, got, want)
						}
					}
				}
			}
			s.Close()
		}
	})
}

// The root pattern is the root alone when it ends in {$}, and every path when it does not.
func TestTheRootAndEverything(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/{$}", named{pattern: "root"})
		if got := s.routed("GET", "a", "/"); got != "101 root" {
			t.Errorf("/: %s", got)
		}
		if got := s.routed("GET", "a", "/any"); got != "404" {
			t.Errorf("/any with the root alone: %s", got)
		}
		s.handle("/", named{pattern: "everything"})
		for target, want := range map[string]string{"/": "101 root", "/any": "101 everything", "/any/thing": "101 everything"} {
			if got := s.routed("GET", "a", target); got != want {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
		}
	})
}

func TestPatternsThatServeMuxRefusesAreErrors(t *testing.T) {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Handle("/a/{x}", newEcho()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/a/{x}", "/a/{y}", "/{x}/b", "", "a", "/{", "/{}", "/{x}{y}", "/{x...}/b", "/{x}/{x}", "G@T /x", "GET /a//b", "GET  x"} {
		if err := e.Handle(p, newEcho()); err == nil {
			t.Errorf("pattern %q was taken", p)
		} else if !strings.HasPrefix(err.Error(), "engine: ") {
			t.Errorf("pattern %q: %v", p, err)
		}
	}
	if err := e.Handle("/{x}/c", newEcho()); err == nil {
		t.Error("a pattern that conflicts with /a/{x} was taken")
	}
	if err := e.Handle("/b", newEcho()); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

func TestRoutesMayBeAddedWhileServing(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		if got := s.routed("GET", "a", "/late/0"); got != "404" {
			t.Fatal(got)
		}
		s.handle("/warm", newEcho())
		c := s.open("/warm")
		var adding sync.WaitGroup
		for k := range 2 {
			adding.Go(func() {
				for i := range 10 {
					p := fmt.Sprintf("/late/%d", 2*i+k)
					if k == 1 && i > 5 {
						p = "GET " + p // from now on there is no literal lookup
					}
					if err := s.Handle(p, named{pattern: p}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 10 { // while they are added
			s.routed("GET", "a", "/late/3")
			c.write(frame.Text, []byte("x"))
			c.expect(frame.Text, []byte("x"))
		}
		adding.Wait()
		for i := range 20 {
			if got := s.routed("GET", "a", fmt.Sprint("/late/", i)); !strings.HasSuffix(got, fmt.Sprint(" /late/", i)) || !strings.HasPrefix(got, "101 ") {
				t.Errorf("/late/%d: %s", i, got)
			}
		}
	})
}

func TestTheAnswerToAHeadRequestHasNoBody(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		for path, status := range map[string]int{"/echo": 405, "/nowhere": 404} {
			c := s.connect()
			c.send([]byte(request("HEAD "+path, hostField)))
			if got, head := c.readHead(); got != status || !strings.Contains(head, "\r\nContent-Length: ") {
				t.Errorf("%s: %s", path, head)
			}
			c.expectEOF()
			c.Close()
		}
	})
}

func TestStatsCountRefusalsByStatus(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/echo", newEcho())
		for range 2 {
			s.routed("GET", "a", "/nowhere")
		}
		s.routed("POST", "a", "/echo")
		s.open("/echo")
		s.Close()
		if st := s.Stats(); st.Refused[404] != 2 || st.Refused[405] != 1 || len(st.Refused) != 2 || st.Handshakes != 1 {
			t.Errorf("%v, %d handshakes", st.Refused, st.Handshakes)
		}
	})
}

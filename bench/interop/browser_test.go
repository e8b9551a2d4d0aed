package interop

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"zeroframe/engine"
)

// browsers are the names under which Chromium is found, the one without a window first.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// chromium returns the path of a browser, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		path, err := exec.LookPath(name)
		if err == nil && exec.Command(path, "--version").Run() == nil { // not one that only says how to install it
			return path
		}
	}
	t.Skip("SKIPPED: no working Chromium under any of the names " + strings.Join(browsers, ", "))
	return ""
}

// browserTarget tells testdata/browser.html what to connect to.
type browserTarget struct {
	URL        string `json:"url"`
	Extensions string `json:"extensions"`
	Kind       string `json:"kind"`
}

type browserResult struct {
	Failures   []string          `json:"failures"`
	Extensions map[string]string `json:"extensions"`
	Echoed     int               `json:"echoed"`
}

// Chromium offers "permessage-deflate; client_max_window_bits"; these answers are on the terms of the agreements.
var browserAnswers = [5]string{
	none + "; client_max_window_bits=15",
	pmd + "; client_max_window_bits=15",
	pmd + "; server_max_window_bits=12; client_max_window_bits=12",
	pmd + "; server_max_window_bits=9; client_max_window_bits=9",
	pmd + "; server_max_window_bits=8; client_max_window_bits=8",
}

func TestChromiumExchangesCompressedMessages(t *testing.T) {
	path := chromium(t)
	var targets []browserTarget
	results := make(chan browserResult, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/browser.html") })
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(targets) })
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var n browserResult
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			n.Failures = []string{"the page's result: " + err.Error()}
		}
		results <- n
	})
	var taps []*tap
	mux.HandleFunc("GET /wire", func(w http.ResponseWriter, r *http.Request) {
		for _, on := range taps {
			if strings.HasPrefix(r.FormValue("url"), on.url+"/") {
				json.NewEncoder(w).Encode(map[string]int64{"toServer": on.toServer.Load(), "toBrowser": on.toPeer.Load()})
			}
		}
	})
	page := httptest.NewUnstartedServer(mux)
	origin := "http://" + page.Listener.Addr().String()

	engines := make([]*engine.Engine, len(agreements))
	servers := make([]*served, len(agreements))
	for i, a := range agreements {
		engines[i], servers[i] = serveDeflate(t, a.c, engine.WithAllowedOrigins(origin), engine.WithPingInterval(5*time.Millisecond))
		w := tapOn(t, servers[i].address())
		taps = append(taps, w)
		for _, route := range echoRoutes {
			targets = append(targets, browserTarget{w.url + route, browserAnswers[i], "echo"})
		}
		targets = append(targets, browserTarget{w.url + "/scripted", browserAnswers[i], "scripted"})
	}

	page.Start()
	defer page.Close()

	said := browse(t, path, origin)
	var n browserResult
	select {
	case n = <-results:
	case err := <-said.ended:
		t.Fatalf("the browser ended before the page: %v\n%s", err, said.output.String())
	case <-time.After(lasting):
		said.end()
		t.Fatalf("the page did not end in time; the browser said\n%s", said.output.String())
	}
	for _, f := range n.Failures {
		t.Error(f)
	}
	if want := len(agreements) * (len(echoRoutes)*151 + 1); n.Echoed != want && len(n.Failures) == 0 {
		t.Errorf("%d messages came back, want %d", n.Echoed, want)
	}
	for i, a := range agreements {
		compressed(t, engines[i])
		// Of the routes with callbacks: /reply, closed by the browser, and /scripted.
		if r := within(t, servers[i].closed); r.Code != 4001 || r.Text != "done ☃" || !r.Remote {
			t.Errorf("%s: the server heard %+v", a.name, r)
		}
		if r := within(t, servers[i].closed); r.Code != 4002 || r.Text != "go ☃" || r.Remote || r.Err != nil {
			t.Errorf("%s: the server ends with %+v", a.name, r)
		}
	}
}

// browser is a running one.
type browser struct {
	output bytes.Buffer // to be read when it has ended
	ended  chan error
	end    func() // kills it with all its processes and waits for them
}

// browse opens url in a browser that ends with the test.
func browse(t *testing.T, path, url string) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "zeroframe-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--user-data-dir="+profile, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b := &browser{ended: make(chan error, 1)}
	// Wait returns when all its processes have closed the pipe of their output.
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &b.output, &b.output, patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		b.ended <- cmd.Wait()
		close(gone)
	}()
	b.end = func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-gone
	}
	t.Cleanup(func() {
		b.end()
		os.RemoveAll(profile)
	})
	return b
}

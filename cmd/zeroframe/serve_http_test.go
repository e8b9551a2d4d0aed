package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"zeroframe/frame"
)

// httpURL is the address of plain HTTP of a server that printed where it listens.
func httpURL(listening string) string { return "http" + strings.TrimPrefix(listening, "ws") }

func TestServeAnswersPlainHTTPBesideItsRoutes(t *testing.T) {
	url := httpURL(start(t, "serve", "--listen", "127.0.0.1:0", "--max-upload", "1KiB").line("listening on "))
	c := &http.Client{Transport: new(http.Transport)}
	defer c.CloseIdleConnections()
	if res, body := request(t, c, "GET", url+"healthz", "", nil); res.StatusCode != http.StatusOK || body != "ok" {
		t.Errorf("%s %q", res.Status, body)
	}
	content := records(1, 1<<10)
	res, body := request(t, c, "POST", url+"upload", "", strings.NewReader(string(content)))
	expectUpload(t, res, body, content)
	if res, _ := request(t, c, "POST", url+"upload", "", strings.NewReader(string(content)+"x")); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("above --max-upload: %s", res.Status)
	}
	for _, path := range []string{"", "echo", "send", "discard", "flood/1", "session", "slow/0", "json", "stream", "raw"} {
		if res, _ := request(t, c, "GET", url+path, "", nil); res.StatusCode != http.StatusUpgradeRequired || res.Header.Get("Upgrade") != "websocket" {
			t.Errorf("GET /%s: %s %v", path, res.Status, res.Header)
		}
	}
	if res, _ := request(t, c, "GET", url+"none", "", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("/none: %s", res.Status)
	}
}

// One connection: requests, one that is refused among them, and then a WebSocket.
func TestServeUpgradesAConnectionThatHTTPWasServedOn(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for head, status := range map[string]int{
		"GET /healthz": 200, "GET /echo": 426, "POST /upload": 200, "GET /none": 404,
		"GET /flood/x": 426, // it is not asked for an upgrade
	} {
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", head)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != status || res.Close {
			t.Fatalf("%s: %v %v", head, res, err)
		}
		res.Body.Close()
	}
	w := &wire{c, t, upgrade(t, c, "/session")}
	w.send(wireFrame{frame.Text, true, "hello"})
	if f := w.read(); f.payload != "hello" {
		t.Errorf("%v", f)
	}
}

func TestHealthzTellsOfAShutdownBeforeItComes(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--shutdown-delay", "1s")
	listening := p.line("listening on ")
	w := openWire(t, listening, "/echo")
	p.Process.Signal(os.Interrupt)
	c := &http.Client{Transport: new(http.Transport)}
	defer c.CloseIdleConnections()
	for status := 0; status != http.StatusServiceUnavailable; {
		res, _ := request(t, c, "GET", httpURL(listening)+"healthz", "", nil)
		status = res.StatusCode
	}
	w.send(wireFrame{frame.Text, true, "still served"})
	if f := w.read(); f.payload != "still served" {
		t.Errorf("%v", f)
	}
	if code, _ := w.readClose(); code != frame.CloseGoingAway {
		t.Errorf("closed with %v", code)
	}
	w.Close()
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

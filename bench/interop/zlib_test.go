package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"zeroframe/engine"
)

// zlibSpec tells testdata/deflate_client.py what to do.
type zlibSpec struct {
	Host    string   `json:"host"`
	Port    int      `json:"port"`
	Paths   []string `json:"paths"`
	Offers  []string `json:"offers"` // a header line each
	Answer  string   `json:"answer"`
	Level   int      `json:"level"`
	Memory  int      `json:"memlevel"`
	Coding  int      `json:"strategy"`
	Cut     string   `json:"cut"`     // whole, cut into fragments, or flushed between them
	End     string   `json:"end"`     // of a message: sync, or finish, with a last block
	Largest int      `json:"largest"` // bytes of a message
	Seed    int      `json:"seed"`
	Timeout float64  `json:"timeout"` // seconds, of any one wait
}

// zlib's strategies.
const (
	defaultStrategy = 0
	huffmanOnly     = 2
	runLength       = 3
	fixedCodes      = 4
)

// An offer, and how what is agreed on is used. Terms index agreements.
var zlibClients = []struct {
	name  string
	terms int
	spec  zlibSpec
}{
	{"nothing asked", 0, zlibSpec{Offers: []string{pmd}, Answer: none, Level: 6}},
	{"what a browser offers", 0, zlibSpec{Offers: []string{pmd + "; client_max_window_bits"}, Answer: none + "; client_max_window_bits=15", Level: 1, Cut: "cut"}},
	{"last blocks", 0, zlibSpec{Offers: []string{none}, Answer: none, Level: 9, End: "finish", Cut: "cut"}},
	{"takeover", 1, zlibSpec{Offers: []string{pmd}, Answer: pmd, Level: 9, Cut: "flushed"}},
	{"takeover, stored blocks", 1, zlibSpec{Offers: []string{pmd}, Answer: pmd, Level: 0, Cut: "cut"}},
	{"takeover, Huffman codes alone", 1, zlibSpec{Offers: []string{pmd}, Answer: pmd, Level: 6, Coding: huffmanOnly}},
	{"takeover, runs", 1, zlibSpec{Offers: []string{noneIn[2:], pmd + noneIn}, Answer: pmd + noneIn, Level: 6, Coding: runLength}},
	{"takeover, fixed codes", 1, zlibSpec{Offers: []string{pmd}, Answer: pmd, Level: 4, Coding: fixedCodes, Memory: 1, Cut: "cut"}},
	{"takeover by the server alone", 1, zlibSpec{Offers: []string{pmd + noneIn}, Answer: pmd + noneIn, Level: 6, End: "finish"}},
	{"takeover by the client alone", 1, zlibSpec{Offers: []string{pmd + noneOut}, Answer: pmd + noneOut, Level: 6, Cut: "flushed"}},
	{"windows asked of both", 1, zlibSpec{Offers: []string{pmd + "; server_max_window_bits=9; client_max_window_bits=10"}, Answer: pmd + "; server_max_window_bits=9; client_max_window_bits=10", Level: 9, Cut: "cut"}},
	{"the smallest window asked of the server", 1, zlibSpec{Offers: []string{pmd + "; server_max_window_bits=8"}, Answer: pmd + "; server_max_window_bits=8", Level: 6}},
	{"a quoted window", 1, zlibSpec{Offers: []string{pmd + `; client_max_window_bits="11"`}, Answer: pmd + "; client_max_window_bits=11", Level: 5, Cut: "cut"}},
	{"a second offer, in the same line", 1, zlibSpec{Offers: []string{pmd + "; server_max_window_bits=16, " + pmd + "; server_max_window_bits=14"}, Answer: pmd + "; server_max_window_bits=14", Level: 6}},
	{"a third offer, in its own line", 1, zlibSpec{Offers: []string{"x-other, " + pmd + "; mode=fast", pmd + "; server_max_window_bits=13"}, Answer: pmd + "; server_max_window_bits=13", Level: 2}},
	{"no valid offer", 1, zlibSpec{Offers: []string{pmd + noneIn + noneIn, pmd + "; client_max_window_bits=7"}, Answer: "", Level: 6, Cut: "cut"}},
	{"windows of 4 KiB", 2, zlibSpec{Offers: []string{pmd + "; client_max_window_bits"}, Answer: pmd + "; server_max_window_bits=12; client_max_window_bits=12", Level: 6, Cut: "flushed"}},
	{"windows of 4 KiB, 16 KiB asked of the server", 2, zlibSpec{Offers: []string{pmd + "; client_max_window_bits=15; server_max_window_bits=14"}, Answer: pmd + "; server_max_window_bits=12; client_max_window_bits=12", Level: 8}},
	{"windows of 512 B", 3, zlibSpec{Offers: []string{pmd + "; client_max_window_bits"}, Answer: pmd + "; server_max_window_bits=9; client_max_window_bits=9", Level: 9, Memory: 9, Cut: "cut"}},
	{"windows of 512 B, not known to the client", 3, zlibSpec{Offers: []string{pmd}, Answer: pmd + noneIn + "; server_max_window_bits=9", Level: 6}},
	{"windows of 256 B", 4, zlibSpec{Offers: []string{pmd + "; client_max_window_bits"}, Answer: pmd + "; server_max_window_bits=8; client_max_window_bits=8", Level: 6, Cut: "cut"}},
}

// python returns the path of python3, or skips the test.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: no python3, whose zlib this is to be compared with")
	}
	return path
}

func TestZlibAgreesOnEveryMessage(t *testing.T) {
	path := python(t)
	for i, tt := range zlibClients {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, s := serveDeflate(t, agreements[tt.terms].c)
			host, port, err := net.SplitHostPort(s.address())
			if err != nil {
				t.Fatal(err)
			}
			spec := tt.spec
			spec.Host, spec.Paths, spec.Seed, spec.Timeout = host, echoRoutes, i, patience.Seconds()
			spec.Port, _ = strconv.Atoi(port)
			spec.Largest = 200_000
			if spec.Memory == 0 {
				spec.Memory = 8
			}
			if spec.Cut == "" {
				spec.Cut = "whole"
			}
			if spec.End == "" {
				spec.End = "sync"
			}
			onWire := runZlib(t, path, spec)
			agreed := spec.Answer != ""
			if compressed := onWire.Deflated > 0 && onWire.Inflated > 0; compressed != agreed {
				t.Errorf("%+v with the answer %q", onWire, spec.Answer)
			}
			if n := e.Stats(); agreed != (n.Inflated > 0) || agreed != (n.Deflated > 0) {
				t.Errorf("the server inflated %d and deflated %d", n.Inflated, n.Deflated)
			}
			if agreed && onWire.InflatedWire > onWire.Inflated/2 {
				t.Errorf("the server deflated %d bytes to %d", onWire.Inflated, onWire.InflatedWire)
			}
		})
	}
}

// runZlib runs the client to its end and returns what it saw.
func runZlib(t *testing.T, path string, spec zlibSpec) (n engine.Stats) {
	t.Helper()
	argument, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasting)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "testdata/deflate_client.py", string(argument)).Output()
	if err != nil {
		said := ""
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			said = strings.TrimSpace(string(exit.Stderr))
		}
		t.Fatalf("python3: %v: %s", err, said)
	}
	if err := json.Unmarshal(out, &n); err != nil {
		t.Fatalf("python3 said %q: %v", out, err)
	}
	return n
}

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func writtenPage(t *testing.T, d *data) string {
	t.Helper()
	var b strings.Builder
	if err := d.writePage(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elements calls f for each element of a page.
func elements(t *testing.T, page string, f func(n *html.Node)) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			f(n)
		}
	}
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func TestPageHasEveryServerAndScenario(t *testing.T) {
	d := fixture()
	servers, titles, figures := make(map[string]int), make(map[string]bool), 0
	elements(t, writtenPage(t, d), func(n *html.Node) {
		switch {
		case n.Data == "th" && attribute(n, "scope") == "row":
			servers[text(n)]++
		case n.Data == "h3":
			titles[text(n)] = true
		case n.Data == "td":
			figures++
		}
	})
	for _, s := range d.Servers {
		tables := 1 // of how they are set up
		for _, c := range d.Cells {
			if c.Server == s.Name && (c.Missing == "" || s.Role != bound) {
				tables++
			}
		}
		if servers[s.Name] != tables {
			t.Errorf("%s stands in %d tables, not %d", s.Name, servers[s.Name], tables)
		}
	}
	for _, s := range d.Scenarios {
		if !titles[s.Name+": "+s.Title] {
			t.Errorf("no table of %s", s.Name)
		}
	}
	if figures < len(d.Scenarios)*len(d.Servers) {
		t.Errorf("%d figures", figures)
	}
}

func TestPageSaysWhatFailedWhatIsMissingAndWhatIsBound(t *testing.T) {
	page := writtenPage(t, fixture())
	for _, want := range []string{
		"5 of the measurements failed",
		"FAILED: server: it had ended by itself, with exit status 2",
		"gobwas in tls-small: has no TLS",
		"c-tcp in small",
		"as &lt;gws&gt; documents it",
		"2 x Intel Xeon, Linux 6.18.5; commit 0123456789ab",
		"race --repeat 5",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, "c-tcp in tls-small") {
		t.Error("that a bound has no TLS is no news")
	}
}

func TestReportsSayOnceWhySystemCallsWereNotCounted(t *testing.T) {
	const said = "System calls could not be counted: perf: no; strace: not allowed"
	d := fixture()
	for _, untraced := range []string{"", "perf: no; strace: not  allowed"} {
		for i := range d.Cells {
			if runs := d.Cells[i].Runs; len(runs) > 0 && runs[0].Measurement != nil {
				runs[0].Measurement.Untraced = untraced
			}
		}
		want := 0
		if untraced != "" {
			want = 1
		}
		for name, write := range map[string]func(io.Writer) error{"text": d.writeText, "Markdown": d.writeMarkdown, "page": d.writePage} {
			var b strings.Builder
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(b.String(), said); n != want {
				t.Errorf("%s: said %d times, not %d", name, n, want)
			}
		}
	}
}

func TestPageLoadsNothing(t *testing.T) {
	policy := false
	elements(t, writtenPage(t, fixture()), func(n *html.Node) {
		for _, a := range n.Attr {
			switch a.Key {
			case "src", "href", "srcset", "action", "data", "poster", "background", "cite", "ping":
				if !strings.HasPrefix(a.Val, "#") {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			case "http-equiv":
				policy = policy || strings.HasPrefix(attribute(n, "content"), "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'")
			}
		}
		switch n.Data {
		case "link", "base", "iframe", "object", "embed", "img":
			t.Errorf("<%s>", n.Data)
		case "style":
			if s := text(n); strings.Contains(s, "url(") || strings.Contains(s, "@import") {
				t.Error("the style loads something")
			}
		}
	})
	if !policy {
		t.Error("no policy that forbids loading")
	}
}

// Elements that have no end.
var void = map[string]bool{"meta": true, "br": true, "link": true, "img": true, "input": true, "hr": true}

func TestPageIsWellFormed(t *testing.T) {
	z := html.NewTokenizer(strings.NewReader(writtenPage(t, fixture())))
	var open []string
	ids := make(map[string]bool)
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) || len(open) > 0 {
				t.Fatalf("%v, with %v open", z.Err(), open)
			}
			return
		case html.StartTagToken:
			token := z.Token()
			for _, a := range token.Attr {
				if a.Key == "id" && ids[a.Val] {
					t.Errorf("two elements are %q", a.Val)
				} else if a.Key == "id" {
					ids[a.Val] = true
				}
			}
			if !void[token.Data] {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			token := z.Token()
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Fatalf("</%s> with %v open", token.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
}

func TestEveryColourHasADarkAndALightForm(t *testing.T) {
	raw, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	style := string(raw)
	colours := func(selector string) map[string]string {
		_, rest, found := strings.Cut(style, selector+" {")
		if !found {
			t.Fatalf("no %s", selector)
		}
		block, _, _ := strings.Cut(rest, "}")
		of := make(map[string]string)
		for _, m := range regexp.MustCompile(`(--[a-z0-9-]+): ([^;]+);`).FindAllStringSubmatch(block, -1) {
			of[m[1]] = m[2]
		}
		return of
	}
	light, chosen := colours(":root"), colours(`:root[data-theme="dark"]`)
	if !strings.Contains(style, "@media (prefers-color-scheme: dark) {\n  "+`:root:not([data-theme="light"])`) {
		t.Error("the reader's preference is not asked for")
	}
	preferred := colours(`:root:not([data-theme="light"])`)
	if len(light) < 10 {
		t.Fatalf("colours %v", light)
	}
	for name, value := range light {
		if chosen[name] == "" || chosen[name] == value || preferred[name] != chosen[name] {
			t.Errorf("%s is %s in the light, %q chosen dark, %q preferred dark", name, value, chosen[name], preferred[name])
		}
	}
}

func TestPlotsHaveEveryMeasuredCell(t *testing.T) {
	d := fixture()
	var plotted plots
	elements(t, writtenPage(t, d), func(n *html.Node) {
		if attribute(n, "id") == "data" {
			if err := json.Unmarshal([]byte(text(n)), &plotted); err != nil {
				t.Fatal(err)
			}
		}
	})
	cells := make(map[string]plotCell)
	for _, c := range plotted.Cells {
		cells[c.Scenario+" "+c.Server] = c
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		p := cells[c.Scenario+" "+c.Server]
		if (len(c.good()) > 0) != (p.Rate != nil || p.PerConn != nil) {
			t.Errorf("%s of %s: %+v", c.Scenario, c.Server, p)
		}
		if p.Rate != nil && (len(p.Curve) < 30 || p.Curve[0][0] < 45 || p.Curve[0][0] > 51 || len(p.Relative) != 3 || p.Relative[1] > p.Relative[0] || p.Relative[2] < p.Relative[0]) {
			t.Errorf("%s of %s: relative %v, curve %v", c.Scenario, c.Server, p.Relative, p.Curve)
		}
	}
}

// TestChromiumDrawsThePlots has a browser run the page's script, and looks at what it drew.
func TestChromiumDrawsThePlots(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "--version").Run() == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("SKIPPED: no working Chromium")
	}
	d := fixture()
	dir := t.TempDir()
	path := filepath.Join(dir, "race.html")
	if err := os.WriteFile(path, []byte(writtenPage(t, d)), 0o666); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--user-data-dir="+dir,
		"--window-size=390,800", "--dump-dom", "file://"+path)
	command.WaitDelay = 5 * time.Second
	drawn, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]int) // by section
	elements(t, string(drawn), func(n *html.Node) {
		if n.Data != "figure" {
			return
		}
		section, marks := attribute(n.Parent, "id"), 0
		for c := range n.Descendants() {
			if c.Type == html.ElementNode && (c.Data == "rect" || c.Data == "path") {
				marks++
			}
		}
		if marks < 5 {
			t.Errorf("%s: %s has %d marks", section, text(n), marks)
		}
		figures[section]++
	})
	closed, open, idle := 0, 0, 0
	for i := range d.Scenarios {
		switch s := &d.Scenarios[i]; {
		case s.Name == "idle":
			idle++
		case s.OpenLoop():
			open++
		default:
			closed++
		}
	}
	want := map[string]int{"plot-overview": 1, "plot-cost": closed + open, "plot-throughput": closed, "plot-latency": closed + open, "plot-memory": idle}
	for section, n := range want {
		if figures[section] != n {
			t.Errorf("%s has %d figures, not %d", section, figures[section], n)
		}
	}
}

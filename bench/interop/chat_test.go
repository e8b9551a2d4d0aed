package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var picture = flag.String("chat-picture", "", "the file to which TestChromiumChats writes a picture of two people who chat")

func TestChromiumChats(t *testing.T) {
	path := chromium(t)
	binary := filepath.Join(t.TempDir(), "chat")
	if out, err := exec.Command("go", "build", "-o", binary, "zeroframe/examples/chat").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := startChat(t, binary, "127.0.0.1:0")
	open := tabs(t, path)

	ada := open("Ada")
	ada.visit("http://" + server.address + "/")
	ada.do(chromedp.SendKeys(chromedp.CSS(`#join [name=name]`), "Ada"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#join [name=room]").value = "den"`),
		chromedp.Click(chromedp.CSS(`#join button`)))
	ada.connected(1)
	ada.sees(`location.pathname`, "/room/den")

	bob := open("Bob")
	bob.visit("http://" + server.address + "/room/den?name=Bob")
	bob.connected(2)
	ada.connected(2)
	ada.sees(lastNotice, "Bob joins")

	const odd = "<i>Cy</i>"
	cy := open("Cy")
	cy.visit("http://" + server.address + "/room/attic?name=%3Ci%3ECy%3C%2Fi%3E")
	cy.connected(1)
	cy.sees(lastNotice, odd+" joins")

	ada.says("Hello, Bob")
	bob.sees(lastMessage("other"), "Hello, Bob")
	bob.sees(lastSender, "Ada")
	bob.says("Hello, Ada ☃")
	ada.sees(lastMessage("other"), "Hello, Ada ☃")
	ada.sees(lastMessage("mine"), "Hello, Bob")

	// Neither a message nor a name is ever HTML.
	const html = `<img src="x" onerror="document.title='run'"><b>bold</b><script>document.title='run'</script>`
	bob.says(html)
	ada.sees(lastMessage("other"), html)
	for _, tab := range []*tab{ada, bob, cy} {
		tab.sees(`document.querySelectorAll("#log .text *, #log .notice *, #log .who b *, #log img, #log script").length`, 0)
	}
	ada.sees(`document.title`, "den")

	// The room of one is still as it was: what Cy says next is all that is said there.
	cy.says("Anybody?")
	cy.sees(texts, []string{"Anybody?"})
	cy.sees(`document.querySelector("#here").textContent`, "1 person here")

	server.stop(t)
	for _, tab := range []*tab{ada, bob, cy} {
		tab.sees(`document.querySelector("#status").textContent.startsWith("Not connected") ||
			document.querySelector("#status").textContent === "Connecting…"`, true)
		tab.sees(`document.querySelector("#send").disabled`, true)
	}
	again := startChat(t, binary, server.address)
	ada.connected(2)
	bob.connected(2)
	cy.connected(1)
	ada.says("Still there?")
	bob.sees(lastMessage("other"), "Still there?")
	bob.says("Yes")
	ada.sees(lastMessage("other"), "Yes")
	cy.sees(texts, []string{"Anybody?"})

	ada.do(chromedp.Click(chromedp.CSS("#leave")))
	bob.connected(1)
	bob.sees(lastNotice, "Ada leaves")
	ada.sees(`!document.querySelector("#join").hidden && document.querySelector("#chat").hidden`, true)
	bob.visit("about:blank") // as one who closes the tab
	bob.visit("http://" + again.address + "/room/den?name=Bob")
	bob.connected(1)

	if *picture != "" {
		takePicture(t, "http://"+again.address, ada, bob)
	}
	again.stop(t)
}

const (
	texts       = `[...document.querySelectorAll("#log .text")].map(e => e.textContent)`
	lastNotice  = `[...document.querySelectorAll("#log .notice")].at(-1)?.textContent`
	lastSender  = `[...document.querySelectorAll("#log .who b")].at(-1)?.textContent`
	ofMine      = `#log .mine .text`
	ofOthers    = `#log li:not(.mine) .text`
	lastElement = `[...document.querySelectorAll(%q)].at(-1)?.textContent`
)

// lastMessage is an expression for the text of the last message, "mine" or of an "other".
func lastMessage(of string) string {
	if of == "mine" {
		return fmt.Sprintf(lastElement, ofMine)
	}
	return fmt.Sprintf(lastElement, ofOthers)
}

// chatServer is the example, running.
type chatServer struct {
	*exec.Cmd
	address string
}

// startChat runs the example until the test ends.
func startChat(t *testing.T, binary, address string) *chatServer {
	t.Helper()
	s := &chatServer{Cmd: exec.Command(binary, "-addr", address)}
	stderr, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.ProcessState == nil {
			s.Process.Kill()
			s.Wait()
		}
	})
	line, err := bufio.NewReader(stderr).ReadString('\n') // what follows is little: it fits into the pipe
	_, rest, found := strings.Cut(line, "http://")
	if err != nil || !found {
		t.Fatalf("the chat says %q, %v", line, err)
	}
	s.address, _, _ = strings.Cut(rest, " ")
	return s
}

// stop ends it as a service manager does.
func (s *chatServer) stop(t *testing.T) {
	t.Helper()
	s.Process.Signal(syscall.SIGTERM)
	if err := s.Wait(); err != nil {
		t.Errorf("the chat ended with %v", err)
	}
}

// tab is a page in the browser, and whose it is.
type tab struct {
	t    *testing.T
	name string
	ctx  context.Context
}

// tabs starts a browser that ends with the test, and returns what opens tabs. Exceptions on their pages, and what breaks
// the pages' policies, fail the test.
func tabs(t *testing.T, path string) (open func(name string) *tab) {
	t.Helper()
	allocator, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("no-proxy-server", true))...)
	browser, closeFirst := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(browser, patience)
		defer stop()
		chromedp.Cancel(ctx)
		closeFirst()
		end()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return func(name string) *tab {
		ctx, closeTab := chromedp.NewContext(browser)
		if err := chromedp.Do(ctx); err != nil { // opens it, for as long as ctx lasts
			t.Fatal(err)
		}
		said := chromedp.Console(ctx)
		listened := make(chan struct{})
		go func() {
			defer close(listened)
			for m, err := range said {
				if err == nil && (m.Type == chromedp.ConsoleException || strings.Contains(m.Text, "Security Policy")) {
					t.Errorf("%s's page: %s", name, m.Text)
				}
			}
		}()
		t.Cleanup(func() {
			closeTab()
			<-listened
		})
		return &tab{t, name, ctx}
	}
}

// do acts on the page.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s's page: %v", b.name, err)
	}
}

func (b *tab) visit(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// says types a message.
func (b *tab) says(text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS("#text"), text+"\n"))
	b.sees(lastMessage("mine"), text)
}

// connected waits for a connection, and so many people in the room.
func (b *tab) connected(people int) {
	b.t.Helper()
	b.sees(`document.querySelector("#status").className`, "open")
	want := fmt.Sprintf("%d people here", people)
	if people == 1 {
		want = "1 person here"
	}
	b.sees(`document.querySelector("#here").textContent`, want)
}

// sees waits until an expression has a value on the page.
func (b *tab) sees(expression string, want any) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	encoded, err := json.Marshal(want)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise(seen => {
		const want = JSON.stringify(%s);
		const look = () => {
			if (JSON.stringify(%s) !== want) return;
			observer.disconnect();
			seen(true);
		};
		const observer = new MutationObserver(look);
		observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		look();
	})`, encoded, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		now, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf(`JSON.stringify(%s) + "\n" + document.body.innerText`, expression)))
		b.t.Fatalf("%s's page: %v\nwant %s\n%s\nin %s", b.name, err, encoded, expression, now)
	}
}

// takePicture lets two people chat, one by day and one by night, and writes what both see, side by side.
func takePicture(t *testing.T, url string, ada, bob *tab) {
	const width, height, scale, between = 420, 700, 6.0 / 5, 16
	for scheme, b := range map[string]*tab{"light": ada, "dark": bob} {
		b.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
			t.Fatal(err)
		}
	}
	ada.visit(url + "/room/tea%20kitchen?name=Ada")
	ada.connected(1)
	bob.visit(url + "/room/tea%20kitchen?name=Bob")
	bob.connected(2)
	ada.connected(2)
	for _, line := range []struct {
		by, to *tab
		text   string
	}{
		{ada, bob, "Morning, Bob! Is the kettle on?"},
		{bob, ada, "Just boiled. Earl Grey or the green one?"},
		{ada, bob, "Earl Grey, please."},
		{ada, bob, "And how was the restart?"},
		{bob, ada, "Nobody noticed. Everyone was back within a second."},
		{ada, bob, "<b>Excellent</b> ☺"},
	} {
		line.by.says(line.text)
		line.to.sees(lastMessage("other"), line.text)
	}
	both := image.NewRGBA(image.Rect(0, 0, 2*width*scale+between, height*scale))
	for i, b := range []*tab{ada, bob} {
		b.do(chromedp.Blur(chromedp.CSS("#text")))
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		half, err := png.Decode(bytes.NewReader(shot))
		if err != nil {
			t.Fatal(err)
		}
		draw.Draw(both, half.Bounds().Add(image.Pt(i*(width*scale+between), 0)), half, image.Point{}, draw.Src)
	}
	file, err := os.Create(*picture)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(file, both); err != nil {
		t.Fatal(err)
	}
}

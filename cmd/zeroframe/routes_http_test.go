package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
)

// plainServer is what serve does for plain HTTP, served in one of several ways.
type plainServer struct {
	url    string
	client *http.Client
	dial   func() (net.Conn, error)
}

// onPlainServers runs f with the handler behind net/http's own server, and on the engine's port.
func onPlainServers(t *testing.T, u uploads, f func(t *testing.T, s plainServer)) {
	if u.stall == 0 {
		u.stall = patience
	}
	t.Run("net/http", func(t *testing.T) {
		h := httptest.NewServer(newPlainHTTP(u))
		t.Cleanup(h.Close)
		f(t, plainServer{h.URL, h.Client(), func() (net.Conn, error) { return net.Dial("tcp", h.Listener.Addr().String()) }})
	})
	none := func(*engine.Engine) error { return nil }
	t.Run("engine", func(t *testing.T) {
		addr, _ := serveBy((*engine.Engine).Serve, t, none, engine.WithHTTPHandler(newPlainHTTP(u)))
		f(t, plainServer{"http://" + addr, httpClient(t, new(http.Transport)), func() (net.Conn, error) { return net.Dial("tcp", addr) }})
	})
	pair, err := selfSigned("")
	if err != nil {
		t.Fatal(err)
	}
	overTLS := func(e *engine.Engine, ln net.Listener) error { return e.ServeTLS(ln, "", "") }
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("engine, TLS, HTTP/%d", version), func(t *testing.T) {
			addr, _ := serveBy(overTLS, t, none, engine.WithHTTPHandler(newPlainHTTP(u)),
				engine.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}))
			insecure := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
			transport := &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: version == 2}
			client := httpClient(t, transport)
			if res, _ := request(t, client, "GET", "https://"+addr+"/healthz", "", nil); res.ProtoMajor != version {
				t.Fatalf("it speaks %s", res.Proto)
			}
			f(t, plainServer{"https://" + addr, client, func() (net.Conn, error) { return tls.Dial("tcp", addr, insecure()) }})
		})
	}
}

func httpClient(t *testing.T, transport *http.Transport) *http.Client {
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// chunked hides what a reader is, so that a request is sent without a length.
type chunked struct{ io.Reader }

// request makes a request and returns the answer and its body.
func request(t *testing.T, c *http.Client, method, url, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res, string(b)
}

// expectUpload looks for the answer to an upload of content.
func expectUpload(t *testing.T, res *http.Response, body string, content []byte) {
	t.Helper()
	sum := sha256.Sum256(content)
	var got map[string]any
	err := json.Unmarshal([]byte(body), &got)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" ||
		len(got) != 2 || got["size"] != float64(len(content)) || got["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("%d bytes were answered with %s, %s: %s %v", len(content), res.Status, res.Header, body, err)
	}
}

// formPart is a field of a form; a file, if it has a name.
type formPart struct {
	field, file string
	content     []byte
}

func form(t *testing.T, parts ...formPart) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		var to io.Writer
		var err error
		if p.file == "" {
			to, err = w.CreateFormField(p.field)
		} else {
			to, err = w.CreateFormFile(p.field, p.file)
		}
		if err == nil {
			_, err = to.Write(p.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func TestHealthzIsOkUntilTheServerGoesDown(t *testing.T) {
	p := newPlainHTTP(uploads{})
	ask := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(method, "/healthz", nil))
		return w
	}
	if w := ask("GET"); w.Code != http.StatusOK || w.Body.String() != "ok" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := ask("HEAD"); w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := ask("POST"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	p.goingDown.Store(true)
	if w := ask("GET"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("going down: %d", w.Code)
	}
}

func TestUploadTellsTheSizeAndTheSumOfABody(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		for _, method := range []string{"POST", "PUT"} {
			for _, contentType := range []string{"", "application/octet-stream", "text/plain; charset=utf-8", "multipart/mixed; boundary=x", "multipart/"} {
				for _, n := range []int{0, 1, 4096, 1 << 20} {
					content := records(n, n)
					res, body := request(t, s.client, method, s.url+"/upload", contentType, bytes.NewReader(content))
					expectUpload(t, res, body, content)
					res, body = request(t, s.client, method, s.url+"/upload", contentType, chunked{bytes.NewReader(content)})
					expectUpload(t, res, body, content)
				}
			}
		}
	})
}

func TestUploadTakesTheFirstFileOfAForm(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		large := records(1, 3<<20)
		for name, parts := range map[string][]formPart{
			"alone":             {{"f", "a.bin", large}},
			"empty":             {{"f", "a.bin", nil}},
			"behind fields":     {{"x", "", large}, {"y", "", []byte("1")}, {"f", "a", []byte("content\r\n--not the end\r\n")}},
			"before other ones": {{"f", "a", []byte("the first")}, {"g", "b", large}, {"x", "", large}},
		} {
			contentType, b := form(t, parts...)
			var want []byte
			for _, p := range parts {
				if p.file != "" {
					want = p.content
					break
				}
			}
			for _, given := range []string{contentType, strings.Replace(contentType, "multipart/form-data", "Multipart/Form-Data ", 1)} {
				res, body := request(t, s.client, "POST", s.url+"/upload", given, bytes.NewReader(b))
				expectUpload(t, res, body, want)
				res, body = request(t, s.client, "PUT", s.url+"/upload", given, chunked{bytes.NewReader(b)})
				expectUpload(t, res, body, want)
				if t.Failed() {
					t.Fatal(name)
				}
			}
		}
	})
}

func TestUploadRefusesFormsThatAreNone(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		contentType, whole := form(t, formPart{"f", "a", []byte("content")}, formPart{"x", "", []byte("1")})
		_, fields := form(t, formPart{"x", "", []byte("1")})
		nobody := "--b\r\nContent-Disposition: form-data; name=f; filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
		for name, tt := range map[string]struct {
			contentType string
			body        []byte
		}{
			"without a file":              {contentType, fields},
			"with no file chosen":         {"multipart/form-data; boundary=b", []byte(nobody)},
			"without a boundary":          {"multipart/form-data", whole},
			"with a bad boundary":         {"multipart/form-data; boundary", whole},
			"with another boundary":       {"multipart/form-data; boundary=other", whole},
			"empty":                       {contentType, nil},
			"cut off in the file":         {contentType, whole[:bytes.Index(whole, []byte("content"))+3]},
			"cut off behind the file":     {contentType, whole[:len(whole)-10]},
			"that is only preamble":       {contentType, []byte("content")},
			"with a broken part's header": {"multipart/form-data; boundary=b", []byte("--b\r\nno header\r\n\r\n\r\n--b--\r\n")},
		} {
			res, body := request(t, s.client, "POST", s.url+"/upload", tt.contentType, bytes.NewReader(tt.body))
			if res.StatusCode != http.StatusBadRequest || body == "" {
				t.Errorf("a form %s: %s %q", name, res.Status, body)
			}
		}
	})
}

func TestUploadIsForPostAndPut(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		for _, method := range []string{"GET", "HEAD", "DELETE", "PATCH", "OPTIONS", "BREW"} {
			res, _ := request(t, s.client, method, s.url+"/upload", "", nil)
			if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "POST, PUT" {
				t.Errorf("%s: %s %v", method, res.Status, res.Header)
			}
		}
		for _, path := range []string{"/", "/upload/", "/uploads", "/healthz/"} {
			if res, _ := request(t, s.client, "POST", s.url+path, "", nil); res.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
	})
}

func TestMaxUploadBoundsABody(t *testing.T) {
	const limit = 100_000
	onPlainServers(t, uploads{limit: limit}, func(t *testing.T, s plainServer) {
		for n, status := range map[int]int{0: 200, limit: 200, limit + 1: 413, 10 * limit: 413} {
			content := records(1, n)
			for _, body := range []io.Reader{bytes.NewReader(content), chunked{bytes.NewReader(content)}} {
				res, text := request(t, s.client, "POST", s.url+"/upload", "", body)
				if res.StatusCode != status {
					t.Errorf("%d bytes: %s", n, res.Status)
				} else if status == 200 {
					expectUpload(t, res, text, content)
				}
			}
		}
		contentType, b := form(t, formPart{"f", "a", []byte("small")}, formPart{"x", "", make([]byte, limit)})
		if res, _ := request(t, s.client, "POST", s.url+"/upload", contentType, chunked{bytes.NewReader(b)}); res.StatusCode != 413 {
			t.Errorf("a form with a small file: %s", res.Status)
		}
	})
}

// converse sends a request by hand and returns the answer to it.
func (s plainServer) converse(t *testing.T, text string) (*http.Response, string) {
	t.Helper()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	return res, string(b)
}

const uploadHead = "POST /upload HTTP/1.1\r\nHost: localhost\r\n"

func TestUploadIsRefusedBeforeABodyThatIsAnnouncedTooLarge(t *testing.T) {
	onPlainServers(t, uploads{limit: 10}, func(t *testing.T, s plainServer) {
		res, _ := s.converse(t, uploadHead+"Content-Length: 11\r\nExpect: 100-continue\r\n\r\n") // which would be the first answer
		if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
			t.Errorf("%s, closing: %v", res.Status, res.Close)
		}
	})
}

func TestUploadThatStallsIsAnsweredWith408(t *testing.T) {
	onPlainServers(t, uploads{stall: 50 * time.Millisecond}, func(t *testing.T, s plainServer) {
		for _, rest := range []string{
			"Content-Length: 11\r\n\r\nhello",
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			"Content-Length: 1000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\nhello",
		} {
			if res, _ := s.converse(t, uploadHead+rest); res.StatusCode != http.StatusRequestTimeout || !res.Close {
				t.Errorf("%q: %s, closing: %v", rest, res.Status, res.Close)
			}
		}
		r, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("hello"))
		if res, _ := request(t, s.client, "POST", s.url+"/upload", "", r); res.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s", res.Status)
		}
	})
}

func TestUploadRefusesBrokenChunks(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		for _, chunks := range []string{"x\r\n", "5\r\nhello!\r\n0\r\n\r\n", "-1\r\n\r\n", "fffffffffffffffff\r\n"} {
			if res, _ := s.converse(t, uploadHead+"Transfer-Encoding: chunked\r\n\r\n"+chunks); res.StatusCode != http.StatusBadRequest {
				t.Errorf("%q: %s", chunks, res.Status)
			}
		}
		res, body := s.converse(t, uploadHead+"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
		expectUpload(t, res, body, []byte("hello"))
	})
}

// A connection goes on behind an upload, and behind what a form has beside its file.
func TestUploadsFollowOneAnotherOnAConnection(t *testing.T) {
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		contentType, b := form(t, formPart{"f", "a", []byte("first")}, formPart{"x", "", make([]byte, 1<<20)})
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(c)
		for range 3 {
			if _, err := fmt.Fprintf(c, uploadHead+"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(b), b); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.Close {
				t.Fatalf("%v, closing: %v", err, res.Close)
			}
			expectUpload(t, res, string(body), []byte("first"))
		}
	})
}

// zeros reads as that many zero bytes.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*z))
	clear(p[:n])
	*z -= zeros(n)
	return int(n), nil
}

func TestUploadsAreNotKeptInMemory(t *testing.T) {
	if raceDetector {
		t.Skip("pools keep little under the race detector")
	}
	const size = 64 << 20
	onPlainServers(t, uploads{}, func(t *testing.T, s plainServer) {
		head := "--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
		for contentType, around := range map[string][2]string{"": {}, "multipart/form-data; boundary=b": {head, "\r\n--b--\r\n"}} {
			n := zeros(size)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res, body := request(t, s.client, "POST", s.url+"/upload", contentType,
				io.MultiReader(strings.NewReader(around[0]), &n, strings.NewReader(around[1])))
			runtime.ReadMemStats(&after)
			if res.StatusCode != 200 || !strings.Contains(body, fmt.Sprint(size)) {
				t.Errorf("%s %s", res.Status, body)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > size/4 {
				t.Errorf("%q: %d bytes allocated for %d", contentType, took, size)
			}
		}
	})
}

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"zeroframe/bench"
)

// uploadStall is how long an upload may bring no byte.
const uploadStall = 30 * time.Second

// uploads counts and hashes what is sent to it, as it comes: the body, or the first file of a form.
type uploads struct {
	limit int64         // bytes of a body; 0: none
	stall time.Duration // how long a body may bring nothing
}

// uploaded is the answer.
type uploaded struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// errNoFile is a form without a file.
var errNoFile = errors.New("the form has no file")

// ServeHTTP answers a POST or PUT when all of its body has come.
func (u uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u.limit > 0 {
		if r.ContentLength > u.limit {
			u.refuse(w, &http.MaxBytesError{Limit: u.limit})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, u.limit)
	}
	r.Body = &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), stall: u.stall}
	answer, err := receiveUpload(r)
	if err != nil {
		u.refuse(w, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// refuse says what was wrong with a request, where the client is there to hear it.
func (u uploads) refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusBadRequest, err.Error()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		status, text = http.StatusRequestEntityTooLarge, "more than "+bench.FormatSize(large.Limit)
		w.Header().Set("Connection", "close") // the rest is not read
	case errors.Is(err, os.ErrDeadlineExceeded):
		status, text = http.StatusRequestTimeout, fmt.Sprintf("nothing came for %v", u.stall)
		w.Header().Set("Connection", "close")
	}
	http.Error(w, text, status)
}

// receiveUpload reads the whole body, of any length.
func receiveUpload(r *http.Request) (uploaded, error) {
	if !isForm(r.Header.Get("Content-Type")) {
		return digest(r.Body)
	}
	form, err := r.MultipartReader()
	if err != nil {
		return uploaded{}, err
	}
	var file *uploaded
	for { // to the end: a form that is cut off is refused, and the connection can go on behind one that is not
		part, err := form.NextPart()
		switch {
		case err == io.EOF && file == nil:
			return uploaded{}, errNoFile
		case err == io.EOF:
			return *file, nil
		case err != nil:
			return uploaded{}, err
		case file != nil || part.FileName() == "":
			continue // NextPart skips it
		}
		first, err := digest(part)
		if err != nil {
			return uploaded{}, err
		}
		file = &first
	}
}

// isForm reports whether a Content-Type is that of a form with files, however wrong its parameters are.
func isForm(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	if parsed, _, err := mime.ParseMediaType(contentType); err == nil {
		kind = parsed
	}
	return strings.EqualFold(strings.TrimSpace(kind), "multipart/form-data")
}

func digest(r io.Reader) (uploaded, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	return uploaded{n, hex.EncodeToString(sum.Sum(nil))}, err
}

// patientBody waits for each read of a body anew.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

// Read moves the deadline of the connection on, where there is one; net/http takes it back behind the request.
func (b *patientBody) Read(p []byte) (int, error) {
	if err := b.control.SetReadDeadline(time.Now().Add(b.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

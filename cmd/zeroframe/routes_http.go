package main

import (
	"io"
	"net/http"
	"sync/atomic"

	"zeroframe/engine"
)

// plainHTTP is what serve answers to requests that open no connection.
type plainHTTP struct {
	mux       *http.ServeMux
	goingDown atomic.Bool
}

func newPlainHTTP(u uploads) *plainHTTP {
	p := &plainHTTP{mux: http.NewServeMux()}
	p.mux.HandleFunc("GET /healthz", p.health)
	p.mux.Handle("POST /upload", u)
	p.mux.Handle("PUT /upload", u)
	return p
}

// needUpgrade refuses requests for the engine's own patterns; those that are upgrades do not come here.
func (p *plainHTTP) needUpgrade(e *engine.Engine, patterns []string) {
	for _, pattern := range patterns {
		p.mux.Handle(pattern, e.Handler(engine.NopHandler{}))
	}
}

// ServeHTTP answers 404 to other paths and 405 to other methods.
func (p *plainHTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// health tells balancers whether to send more.
func (p *plainHTTP) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if p.goingDown.Load() {
		http.Error(w, "going down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok")
}

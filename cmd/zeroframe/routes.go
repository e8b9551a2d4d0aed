package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

// routeOptions are what some routes are given of their own.
type routeOptions struct{ stream, raw []engine.RouteOption }

// addRoutes registers what serve shows. Requests for these paths that open no connection are refused as the engine does
// it, in plain.
func addRoutes(e *engine.Engine, r *relays, o routeOptions, plain *plainHTTP) error {
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	// /send and /flood count on being told when a message does not fit, whatever the other routes do then.
	told := engine.WithBackpressurePolicy(engine.PolicyRefuse)
	var patterns []string
	handle := func(pattern string, h engine.Handler, opts ...engine.RouteOption) error {
		patterns = append(patterns, pattern)
		return e.Handle(pattern, h, opts...)
	}
	session := func(pattern string, h engine.SessionHandler, opts ...engine.RouteOption) error {
		patterns = append(patterns, pattern)
		return e.HandleSession(pattern, h, opts...)
	}
	raw := func(pattern string, h engine.FrameHandler, opts ...engine.RouteOption) error {
		patterns = append(patterns, pattern)
		return e.HandleRaw(pattern, h, opts...)
	}
	err := errors.Join(
		handle("/{$}", echo),
		handle("/echo", echo),
		handle("/send", relayHandler{relays: r}, told),
		handle("/flood/{bytes}", floodHandler{}, told),
		handle("/discard", engine.NopHandler{}),
		handle("/topic/{name}", topicHandler{engine: e}),
		raw("/raw", rawEcho{}, o.raw...),
		session("/session", echoSession),
		session("/slow/{ms}", slowSession, engine.WithOnUpgrade(readSlowness)),
		session("/json", countSession, engine.WithCodec(verbatim{engine.JSON})),
		session("/stream", streamSession, o.stream...),
	)
	if err == nil {
		plain.needUpgrade(e, patterns)
	}
	return err
}

// pathNumber returns the number that the request's path has at name, or the 400 for what is none, or out of bounds.
func pathNumber(u *engine.Upgrade, route, name string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(u.Request.PathValue(name), 10, 64)
	if err != nil || n < low || n > high {
		return 0, &engine.Rejection{
			Status: http.StatusBadRequest,
			Reason: fmt.Sprintf("%s takes a number from %d to %d", route, low, high),
		}
	}
	return n, nil
}

// metricsHandler serves the counts at /stats, after a collection of garbage with ?gc=1, and the profiles of
// net/http/pprof.
func metricsHandler(e *engine.Engine, loops int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		body, err := json.Marshal(bench.TakeSnapshot(e, loops, r.URL.Query().Get("gc") == "1"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(body, '\n'))
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

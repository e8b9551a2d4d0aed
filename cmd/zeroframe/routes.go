package main

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"

	"zeroframe/bench"
	"zeroframe/engine"
	"zeroframe/frame"
)

func addRoutes(e *engine.Engine, r *relays) error {
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	for _, route := range []struct {
		pattern string
		handler engine.Handler
		options []engine.RouteOption
	}{
		{"/{$}", echo, nil},
		{"/echo", echo, nil},
		// Both of these count on being told when a message does not fit, whatever the other routes do then.
		{"/send", relayHandler{relays: r}, []engine.RouteOption{engine.WithBackpressurePolicy(engine.PolicyRefuse)}},
		{"/flood/{bytes}", floodHandler{}, []engine.RouteOption{engine.WithBackpressurePolicy(engine.PolicyRefuse)}},
		{"/discard", engine.NopHandler{}, nil},
	} {
		if err := e.Handle(route.pattern, route.handler, route.options...); err != nil {
			return err
		}
	}
	return nil
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

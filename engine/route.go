package engine

import (
	"fmt"
	"net/http"
	gopath "path"
	"strings"
	"sync"
	"sync/atomic"

	"zeroframe/frame"
	"zeroframe/internal/handshake"
)

// route is what Handle registered: a handler with its settings.
type route struct {
	engine  *Engine
	pattern string // what it was registered with; "" for a client's
	handler Handler
	// The optional interfaces of handler; nil where it has them not.
	upgrader Upgrader
	onPing   PingHandler
	onPong   PongHandler
	onDrain  DrainHandler
	session  SessionHandler // the layer above handler, if it is that of sessions and we are the server
	raw      FrameHandler   // gets frames in place of messages
	rules    frame.Rules
	// deflateRules are the rules of connections with compression.
	deflateRules frame.Rules
	agreed       atomic.Pointer[agreement] // made by agreementOn
	settings
}

// newRoute makes a route; layer, which may be nil, changes it before the options do.
func (e *Engine) newRoute(h Handler, role frame.Role, layer func(*route), opts []RouteOption) (*route, error) {
	if h == nil {
		return nil, &OptionError{"Handler", "nil"}
	}
	r := &route{engine: e, handler: h, settings: e.config.settings}
	if layer != nil {
		layer(r)
	}
	for _, o := range opts {
		if err := o.applyRoute(&r.settings); err != nil {
			return nil, err
		}
	}
	var optional any = h
	if r.raw != nil {
		optional = r.raw
		r.skipUTF8 = true
	}
	r.upgrader, _ = optional.(Upgrader)
	r.onPing, _ = optional.(PingHandler)
	r.onPong, _ = optional.(PongHandler)
	r.onDrain, _ = optional.(DrainHandler)
	r.onPing, r.onPong = alsoPing(r.onPing, r.sawPing), alsoPong(r.onPong, r.sawPong)
	r.rules = frame.Rules{Role: role, MaxFrame: r.maxFrame, RSV: r.reserved}
	r.deflateRules = r.rules
	r.deflateRules.FirstRSV = frame.RSV1
	if err := r.checkExtensions(); err != nil {
		return nil, err
	}
	if r.reserved != 0 && r.raw == nil {
		return nil, &OptionError{"WithReservedBits", "the route is not a raw one"}
	}
	return r, nil
}

// controlFunc is what WithOnPing and WithOnPong are given.
type controlFunc func(c *Conn, payload []byte)

func (f controlFunc) OnPing(c *Conn, payload []byte) { f(c, payload) }
func (f controlFunc) OnPong(c *Conn, payload []byte) { f(c, payload) }

// alsoPing returns what tells h and then f; each may be nil.
func alsoPing(h PingHandler, f controlFunc) PingHandler {
	switch {
	case f == nil:
		return h
	case h == nil:
		return f
	}
	return controlFunc(func(c *Conn, payload []byte) {
		h.OnPing(c, payload)
		f(c, payload)
	})
}

// alsoPong is alsoPing for pongs.
func alsoPong(h PongHandler, f controlFunc) PongHandler {
	switch {
	case f == nil:
		return h
	case h == nil:
		return f
	}
	return controlFunc(func(c *Conn, payload []byte) {
		h.OnPong(c, payload)
		f(c, payload)
	})
}

// router finds the route of a request by the patterns of net/http's ServeMux. A ServeMux wants an http.Request, with the
// garbage that makes; while no pattern has a host or a method, a path that is one of the patterns to the letter is
// looked up here instead, with the same result.
type router struct {
	mu      sync.Mutex // held to add a route
	mux     *http.ServeMux
	literal atomic.Pointer[map[string]*route]
	general bool            // some pattern has a host or a method
	rooted  map[string]bool // paths that a pattern with {$} behind them has, which goes before the one without
}

func newRouter() *router {
	r := &router{mux: http.NewServeMux(), rooted: make(map[string]bool)}
	r.literal.Store(&map[string]*route{})
	return r
}

// add registers a pattern; one that ServeMux panics over is an error here.
func (r *router) add(pattern string, to *route) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("engine: %v", v)
		}
	}()
	r.mux.Handle(pattern, to)
	known := make(map[string]*route)
	if !strings.HasPrefix(pattern, "/") {
		r.general = true
	}
	if !r.general {
		for k, v := range *r.literal.Load() {
			known[k] = v
		}
		path := strings.TrimSuffix(pattern, "{$}")
		if isLiteral(path) && (path != pattern || !r.rooted[path]) {
			known[path] = to
		}
		if path != pattern {
			r.rooted[path] = true
		}
	}
	r.literal.Store(&known)
	return nil
}

// isLiteral reports whether the pattern that is path, but for a {$} behind it, matches that path to the letter; of what a
// pattern that ends in a slash matches this is one. Paths that ServeMux would clean match nothing: it redirects before it
// looks for their pattern.
func isLiteral(path string) bool {
	if strings.ContainsAny(path, "{}%") {
		return false
	}
	return path == "/" || gopath.Clean(path) == strings.TrimSuffix(path, "/")
}

// find returns the route of a request, with the http.Request if one had to be made, or how to refuse it.
func (r *router) find(h *handshake.Head) (*route, *http.Request, error) {
	if to := (*r.literal.Load())[string(h.Path())]; to != nil && string(h.Method()) == http.MethodGet {
		return to, nil, nil
	}
	return r.search(h)
}

// request makes the http.Request of a head that this route was found for, with the path values of its pattern, whatever
// routes there are by now.
func (r *route) request(h *handshake.Head) (*http.Request, error) {
	alone := newRouter()
	if err := alone.add(r.pattern, r); err != nil {
		return nil, err
	}
	_, req, err := alone.search(h)
	return req, err
}

// search is find by the patterns.
func (r *router) search(h *handshake.Head) (*route, *http.Request, error) {
	req, err := h.Request()
	if err != nil {
		return nil, nil, handshake.ErrBadRequest
	}
	if req.URL.Path == "" { // of the absolute form: it means the root (RFC 9110, section 4.2.3)
		req.URL.Path = "/"
	}
	w := &capture{header: make(http.Header)}
	r.mux.ServeHTTP(w, req)
	if w.route == nil {
		return nil, nil, &noRoute{handshake.Refusal{Status: w.status, Header: w.header}} // 404, 405, or to a path's clean form
	}
	return w.route, w.request, nil
}

// match returns the route of a request that net/http has read, with the path values of its pattern in the request, and
// nil when there is none.
func (r *router) match(req *http.Request) *route {
	path := req.URL.Path
	if path == "" { // see search
		req.URL.Path = "/"
	}
	h, _ := r.mux.Handler(req)
	if _, ours := h.(*route); !ours {
		req.URL.Path = path
		return nil
	}
	var w capture
	r.mux.ServeHTTP(&w, req)
	return w.route
}

// noRoute is the refusal of a request that no route was found for.
type noRoute struct{ handshake.Refusal }

// Unwrap returns the refusal.
func (r *noRoute) Unwrap() error { return &r.Refusal }

// capture is the ResponseWriter that a route recognizes; for a path without a route ServeMux writes its answer to it.
type capture struct {
	route   *route
	request *http.Request // with its path values
	header  http.Header
	status  int
}

func (w *capture) Header() http.Header         { return w.header }
func (w *capture) Write(b []byte) (int, error) { return len(b), nil }
func (w *capture) WriteHeader(status int)      { w.status = status }

// ServeHTTP tells the router that the request is this route's.
func (r *route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c := w.(*capture)
	c.route, c.request = r, req
}

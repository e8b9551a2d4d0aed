package engine

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"zeroframe/deflate"
	"zeroframe/frame"
	"zeroframe/internal/handshake"
)

// negotiate agrees on extensions with a client and returns what to answer. A header that is not a list of extensions
// offers nothing: section 9.1 of RFC 6455 would have the connection fail, but a client that gets it wrong is better
// served without, like one whose parameters are wrong.
func (c *Conn) negotiate(h *handshake.Head) string {
	to := c.route
	if to.compression == nil && len(to.extensions) == 0 || h.Count("Sec-WebSocket-Extensions") == 0 {
		return ""
	}
	if len(to.extensions) == 0 && h.Count("Sec-WebSocket-Extensions") == 1 {
		field, _ := h.Get("Sec-WebSocket-Extensions")
		a := to.agreementOn(field)
		if a.ok {
			c.beginDeflate(a.params)
		}
		return a.answer
	}
	var fields []string
	for v := range h.Values("Sec-WebSocket-Extensions") {
		fields = append(fields, string(v))
	}
	offers, err := deflate.ParseOffers(fields...)
	if err != nil {
		return ""
	}
	var answers []string
	for _, x := range to.extensions {
		for _, offer := range offers {
			if offer.Name != x.Name() {
				continue
			}
			if params, t := x.Negotiate(offer.Params); t != nil {
				c.install(x, t)
				answers = append(answers, deflate.Offer{Name: offer.Name, Params: params}.String())
				break
			}
		}
	}
	if to.compression != nil {
		if p, answer, ok := deflate.Negotiate(offers, to.compression.terms(frame.Server)); ok {
			c.beginDeflate(p)
			at := len(answers)
			if to.deflateFirst {
				at = 0 // the order of the answer is that of the operations (RFC 6455, section 9.1)
			}
			answers = slices.Insert(answers, at, answer)
		}
	}
	c.extended()
	return strings.Join(answers, ", ")
}

// offerExtensions adds what a client offers to its request.
func (r *route) offerExtensions(header http.Header) http.Header {
	var offers []string
	for _, x := range r.extensions {
		offers = append(offers, deflate.Offer{Name: x.Name(), Params: x.Offer()}.String())
	}
	if r.compression != nil {
		at := len(offers)
		if r.deflateFirst {
			at = 0
		}
		offers = slices.Insert(offers, at, r.compression.terms(frame.Client).Offer())
	}
	if offers == nil {
		return header
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	header.Set("Sec-WebSocket-Extensions", strings.Join(offers, ", "))
	return header
}

// acceptExtensions takes a server's answer to what was offered.
func (c *Conn) acceptExtensions(answer string) error {
	if answer == "" {
		return nil
	}
	got, err := deflate.ParseOffers(answer)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, g := range got {
		if seen[g.Name] {
			return fmt.Errorf("the server names %s twice", g.Name)
		}
		seen[g.Name] = true
		if err := c.acceptExtension(g); err != nil {
			return err
		}
	}
	c.extended()
	return nil
}

func (c *Conn) acceptExtension(got deflate.Offer) error {
	if o := c.route.compression; o != nil && got.Name == deflate.Name {
		p, err := o.terms(frame.Client).Accept(got.String())
		if err != nil {
			return err
		}
		c.beginDeflate(p)
		return nil
	}
	for _, x := range c.route.extensions {
		if x.Name() == got.Name {
			t, err := x.Accept(got.Params)
			if err == nil && t == nil {
				err = fmt.Errorf("the extension %s does not take the server's answer", got.Name)
			}
			if err != nil {
				return err
			}
			c.install(x, t)
			return nil
		}
	}
	return fmt.Errorf("the server names the extension %s, which was not offered", got.Name)
}

// install puts a transformer to work.
func (c *Conn) install(x Extension, t FrameTransformer) {
	e := c.moreExtensions()
	e.list = append(e.list, t)
	e.names = append(e.names, x.Name())
	e.rules.RSV |= x.ReservedBits()
	c.flags.Or(flagExtended)
}

// extended completes the rules of a connection with transformers.
func (c *Conn) extended() {
	f := c.flags.Load()
	if f&flagExtended == 0 {
		return
	}
	e := c.extensions()
	bits := e.rules.RSV
	e.rules = *c.rulesInForce(f &^ (flagExtended | flagOwnRules))
	e.rules.RSV |= bits
}

// agreement is what comes of a client's offer on a route that has compression and no other extension.
type agreement struct {
	offer  string
	params deflate.Params
	answer string
	ok     bool
}

// agreementOn returns what comes of an offer. The last is kept: the browsers' are all alike, and to read one and write the
// answer makes three times as much garbage as the connection has bytes. Any goroutine may call it.
func (r *route) agreementOn(offer []byte) *agreement {
	if a := r.agreed.Load(); a != nil && a.offer == string(offer) {
		return a
	}
	a := &agreement{offer: string(offer)}
	if offers, err := deflate.ParseOffers(a.offer); err == nil {
		a.params, a.answer, a.ok = deflate.Negotiate(offers, r.compression.terms(frame.Server))
	}
	r.agreed.Store(a)
	return a
}

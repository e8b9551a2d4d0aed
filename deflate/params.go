package deflate

import (
	"errors"
	"fmt"
	"strconv"
)

// Name is the extension's name in Sec-WebSocket-Extensions.
const Name = "permessage-deflate"

// The extension parameters of RFC 7692, section 7.1.
const (
	serverNoContextTakeover = "server_no_context_takeover"
	clientNoContextTakeover = "client_no_context_takeover"
	serverMaxWindowBits     = "server_max_window_bits"
	clientMaxWindowBits     = "client_max_window_bits"
)

// MinWindowBits and MaxWindowBits bound the logarithm of an LZ77 window: 256
// bytes to 32 KiB.
const (
	MinWindowBits = 8
	MaxWindowBits = 15
)

// maxWindow is the largest LZ77 window, in bytes.
const maxWindow = 1 << MaxWindowBits

// ErrResponse says that a server's answer is not one to the offer that it was
// given. The client must fail the connection (RFC 7692, section 7).
var ErrResponse = errors.New("deflate: the server's extension does not answer the offer")

// Params is what was negotiated. The server_ parameters describe the stream that
// the server compresses, the client_ parameters the client's.
type Params struct {
	// ServerNoContextTakeover and ClientNoContextTakeover say that each message
	// of that side is compressed for itself, without a history.
	ServerNoContextTakeover, ClientNoContextTakeover bool
	// ServerMaxWindowBits and ClientMaxWindowBits are the logarithm of that
	// side's LZ77 window, 8 to 15.
	ServerMaxWindowBits, ClientMaxWindowBits int
}

// ServerHistory returns the bytes of history to keep of the server's stream: 0
// without context takeover, else the window, or most if that is less. Who
// compresses may keep less than the window; who inflates must keep all of it.
func (p Params) ServerHistory(most int) int {
	return history(p.ServerNoContextTakeover, p.ServerMaxWindowBits, most)
}

// ClientHistory returns the bytes of history to keep of the client's stream, as
// ServerHistory does of the server's.
func (p Params) ClientHistory(most int) int {
	return history(p.ClientNoContextTakeover, p.ClientMaxWindowBits, most)
}

func history(none bool, bits, most int) int {
	if none {
		return 0
	}
	return max(0, min(1<<bits, most))
}

// Config is what one side is willing to do. The zero value takes nothing over,
// with full windows: no memory for any connection.
type Config struct {
	// ServerContextTakeover lets the server refer to its earlier messages. Off,
	// a server answers server_no_context_takeover to every offer, and a client
	// offers it.
	ServerContextTakeover bool
	// ClientContextTakeover lets the client refer to its earlier messages, for
	// which the server keeps a history of the client's window. Off, a server
	// answers client_no_context_takeover, and a client offers it.
	ClientContextTakeover bool
	// ServerMaxWindowBits bounds the server's window, 8 to 15; 0 means 15.
	ServerMaxWindowBits int
	// ClientMaxWindowBits bounds the client's window, 8 to 15; 0 means 15. A
	// server can ask it only of clients that offer client_max_window_bits; to
	// others it answers client_no_context_takeover, so that no more is kept
	// than this. Peers that use zlib cannot compress with 8.
	ClientMaxWindowBits int
}

// Check returns an error if c has window bits out of range. The functions that
// take a Config count those as the nearest bound.
func (c Config) Check() error {
	for _, bits := range []int{c.ServerMaxWindowBits, c.ClientMaxWindowBits} {
		if bits != 0 && (bits < MinWindowBits || bits > MaxWindowBits) {
			return fmt.Errorf("deflate: window bits %d are not %d to %d", bits, MinWindowBits, MaxWindowBits)
		}
	}
	return nil
}

func (c Config) serverBits() int { return windowBits(c.ServerMaxWindowBits) }
func (c Config) clientBits() int { return windowBits(c.ClientMaxWindowBits) }

// windowBits is bits within its bounds, 0 being none given.
func windowBits(bits int) int {
	if bits == 0 {
		return MaxWindowBits
	}
	return max(MinWindowBits, min(bits, MaxWindowBits))
}

// Negotiate is the server's side: it accepts the first offer of
// permessage-deflate that is valid, and returns what holds then and the
// extension to answer with. An offer with an unknown, repeated or invalid
// parameter is passed over (RFC 7692, section 7). ok is false when none is left:
// the connection goes without the extension.
func Negotiate(offers []Offer, c Config) (p Params, response string, ok bool) {
	for _, offer := range offers {
		if offer.Name != Name {
			continue
		}
		if asked, ok := readTerms(offer.Params); ok && asked.serverBits != anyBits {
			p, response = answer(asked, c)
			return p, response, true
		}
	}
	return Params{}, "", false
}

// answer accepts what is asked as far as c goes: every valid offer can be.
func answer(asked terms, c Config) (Params, string) {
	p := Params{
		ServerNoContextTakeover: asked.serverAlone || !c.ServerContextTakeover,
		ClientNoContextTakeover: asked.clientAlone || !c.ClientContextTakeover,
		ServerMaxWindowBits:     c.serverBits(),
		ClientMaxWindowBits:     MaxWindowBits,
	}
	o := Offer{Name: Name}
	if asked.serverBits != absent {
		p.ServerMaxWindowBits = min(p.ServerMaxWindowBits, asked.serverBits)
	}
	switch {
	case asked.clientBits == anyBits:
		p.ClientMaxWindowBits = c.clientBits()
	case asked.clientBits != absent:
		p.ClientMaxWindowBits = min(c.clientBits(), asked.clientBits)
	case c.clientBits() < MaxWindowBits:
		p.ClientNoContextTakeover = true
	}
	if p.ServerNoContextTakeover {
		o.Params = append(o.Params, Param{Name: serverNoContextTakeover})
	}
	if p.ClientNoContextTakeover {
		o.Params = append(o.Params, Param{Name: clientNoContextTakeover})
	}
	// Section 7.1.2.1: allowed unasked, and owed when asked.
	if asked.serverBits != absent || p.ServerMaxWindowBits < MaxWindowBits {
		o.Params = append(o.Params, Param{serverMaxWindowBits, strconv.Itoa(p.ServerMaxWindowBits)})
	}
	// Section 7.1.2.2: only when asked.
	if asked.clientBits != absent {
		o.Params = append(o.Params, Param{clientMaxWindowBits, strconv.Itoa(p.ClientMaxWindowBits)})
	}
	return p, o.String()
}

// Offer is the client's side: the value of Sec-WebSocket-Extensions that offers
// permessage-deflate on the terms of c.
func (c Config) Offer() string {
	o := Offer{Name: Name}
	if !c.ServerContextTakeover {
		o.Params = append(o.Params, Param{Name: serverNoContextTakeover})
	}
	if !c.ClientContextTakeover {
		o.Params = append(o.Params, Param{Name: clientNoContextTakeover})
	}
	if bits := c.serverBits(); bits < MaxWindowBits {
		o.Params = append(o.Params, Param{serverMaxWindowBits, strconv.Itoa(bits)})
	}
	client := Param{Name: clientMaxWindowBits}
	if bits := c.clientBits(); bits < MaxWindowBits {
		client.Value = strconv.Itoa(bits)
	}
	o.Params = append(o.Params, client)
	return o.String()
}

// Accept is the client's side of the answer: response is the
// Sec-WebSocket-Extensions field of a server that was sent c.Offer(). Anything
// but one permessage-deflate on terms that were offered is an error that wraps
// ErrResponse or ErrMalformed, an empty response included: that one declines,
// and need not be passed here. What the server left open is settled by c.
func (c Config) Accept(response string) (Params, error) {
	extensions, err := ParseOffers(response)
	if err != nil {
		return Params{}, err
	}
	if len(extensions) != 1 || extensions[0].Name != Name {
		return Params{}, fmt.Errorf("%w: %q", ErrResponse, response)
	}
	got, ok := readTerms(extensions[0].Params)
	switch {
	case !ok:
		return Params{}, fmt.Errorf("%w: unknown, repeated or invalid parameter in %q", ErrResponse, response)
	case got.serverBits == anyBits || got.clientBits == anyBits:
		return Params{}, fmt.Errorf("%w: a window without bits in %q", ErrResponse, response)
	case !c.ServerContextTakeover && !got.serverAlone:
		return Params{}, fmt.Errorf("%w: no %s in %q", ErrResponse, serverNoContextTakeover, response)
	case c.serverBits() < MaxWindowBits && (got.serverBits == absent || got.serverBits > c.serverBits()),
		got.clientBits != absent && got.clientBits > c.clientBits():
		return Params{}, fmt.Errorf("%w: a window larger than offered in %q", ErrResponse, response)
	}
	p := Params{
		ServerNoContextTakeover: got.serverAlone,
		ClientNoContextTakeover: got.clientAlone || !c.ClientContextTakeover,
		ServerMaxWindowBits:     MaxWindowBits,
		ClientMaxWindowBits:     c.clientBits(),
	}
	if got.serverBits != absent {
		p.ServerMaxWindowBits = got.serverBits
	}
	if got.clientBits != absent {
		p.ClientMaxWindowBits = got.clientBits
	}
	return p, nil
}

// terms are the parameters of one element, in an offer or in a response.
type terms struct {
	serverAlone, clientAlone bool
	serverBits, clientBits   int // absent, anyBits or 8 to 15
}

const (
	absent  = 0
	anyBits = -1 // the parameter without a value
)

// readTerms reads the parameters of an element. ok is false when one is unknown,
// repeated or has an invalid value.
func readTerms(params []Param) (t terms, ok bool) {
	for _, p := range params {
		ok := false
		switch p.Name {
		case serverNoContextTakeover:
			ok = !t.serverAlone && p.Value == ""
			t.serverAlone = true
		case clientNoContextTakeover:
			ok = !t.clientAlone && p.Value == ""
			t.clientAlone = true
		case serverMaxWindowBits:
			ok = t.serverBits == absent
			t.serverBits = readBits(p.Value)
			ok = ok && t.serverBits != absent
		case clientMaxWindowBits:
			ok = t.clientBits == absent
			t.clientBits = readBits(p.Value)
			ok = ok && t.clientBits != absent
		}
		if !ok {
			return t, false
		}
	}
	return t, true
}

// readBits reads the value of a window parameter: a decimal integer from 8 to 15
// without leading zeroes. It returns anyBits for none and absent for an invalid
// one.
func readBits(value string) int {
	switch {
	case value == "":
		return anyBits
	case len(value) == 1 && value >= "8" && value <= "9":
		return int(value[0] - '0')
	case len(value) == 2 && value >= "10" && value <= "15":
		return 10 + int(value[1]-'0')
	}
	return absent
}

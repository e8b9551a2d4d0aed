package engine

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// destination is where a URL leads.
type destination struct {
	url     *url.URL // ws or wss, with the host that the request names
	network string   // tcp or unix
	address string   // what to dial there
	secure  bool     // TLS
}

// parseDestination reads a URL that Dial takes. Its errors do not repeat passwords.
func parseDestination(rawURL string) (*destination, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // it quotes the whole URL
			err = parse.Err
		}
		return nil, fmt.Errorf("engine: cannot dial, the URL does not parse: %w", err)
	}
	to := &destination{url: u}
	switch u.Scheme {
	case "ws", "wss":
		to.secure = u.Scheme == "wss"
		err = to.setHost()
	case "ws+unix", "wss+unix":
		to.secure = u.Scheme == "wss+unix"
		err = to.setSocket()
	default:
		err = errors.New("the scheme is not ws, wss, ws+unix or wss+unix")
	}
	if err == nil && strings.Contains(rawURL, "#") {
		err = errors.New("a WebSocket URL has no fragment (RFC 6455, section 3)")
	}
	if err != nil {
		return nil, fmt.Errorf("engine: cannot dial %q: %w", u.Redacted(), err)
	}
	return to, nil
}

// setHost is for ws://host[:port]/path.
func (to *destination) setHost() (err error) {
	if to.url.Host, err = asciiHost(to.url); err != nil {
		return err
	}
	to.network, to.address = "tcp", hostPort(to.url, "80")
	if to.secure {
		to.address = hostPort(to.url, "443")
	}
	return nil
}

// setSocket is for ws+unix:///path/to/socket:/request/path, as npm's ws has it. A socket whose path is relative, or
// abstract, is named without the slashes; a colon in it is written %3A.
func (to *destination) setSocket() error {
	u := to.url
	where := u.Opaque
	if where == "" {
		where = u.EscapedPath()
	}
	socket, path, _ := strings.Cut(where, ":")
	if path == "" {
		path = "/"
	}
	if u.Host != "" || socket == "" || path[0] != '/' {
		return errors.New("the URL is not " + u.Scheme + ":///path/to/socket:/request/path")
	}
	request, err := url.ParseRequestURI(path)
	if err != nil {
		return err
	}
	to.network = "unix"
	if to.address, err = url.PathUnescape(socket); err != nil {
		return err
	}
	to.url = &url.URL{
		Scheme: strings.TrimSuffix(u.Scheme, "+unix"), User: u.User, Host: "localhost",
		Path: request.Path, RawPath: request.RawPath, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery,
	}
	return nil
}

// asciiHost returns the host, with its port if it has one, as DNS, the Host field and certificates write it.
func asciiHost(u *url.URL) (string, error) {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		return "", errors.New("the URL has no host")
	}
	for i := range len(host) {
		if host[i] < 0x80 {
			continue
		}
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", err
		}
		if port == "" {
			return ascii, nil
		}
		return net.JoinHostPort(ascii, port), nil
	}
	return strings.TrimSuffix(u.Host, ":"), nil
}

// hostPort returns what to dial.
func hostPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

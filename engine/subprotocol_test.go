package engine_test

import (
	"strings"
	"testing"

	"zeroframe/engine"
)

// protocolOf returns the Sec-WebSocket-Protocol fields of a 101.
func (c *client) protocolOf(request []byte) []string {
	c.t.Helper()
	c.send(request)
	resp, body := c.readAnswer("GET")
	if resp.StatusCode != 101 {
		c.t.Fatalf("%d %s", resp.StatusCode, body)
	}
	return resp.Header.Values("Sec-WebSocket-Protocol")
}

func TestTheServersFirstSubprotocolThatTheClientOffersIsChosen(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.Subprotocols("of-the-engine"))
		s.handle("/chat", newUpgrader(func(*engine.Upgrade) error { return nil }), engine.Subprotocols("v2", "v1"))
		s.handle("/engine", newUpgrader(func(*engine.Upgrade) error { return nil }))
		s.handle("/none", newUpgrader(func(*engine.Upgrade) error { return nil }), engine.Subprotocols())
		for _, tt := range []struct {
			path   string
			offers []string
			want   string
		}{
			{"/chat", []string{"v1"}, "v1"},
			{"/chat", []string{"v1, v2"}, "v2"},
			{"/chat", []string{"v1", "v0,v2"}, "v2"},
			{"/chat", []string{" v1 ,v3"}, "v1"},
			{"/chat", []string{"V2"}, ""}, // compared exactly, as browsers do
			{"/chat", []string{"v3"}, ""},
			{"/chat", nil, ""},
			{"/engine", []string{"of-the-engine"}, "of-the-engine"},
			{"/engine", []string{"v1"}, ""},
			{"/none", []string{"of-the-engine"}, ""},
		} {
			c := s.connect()
			var fields []string
			for _, o := range tt.offers {
				fields = append(fields, "Sec-WebSocket-Protocol: "+o)
			}
			got := c.protocolOf(upgradeRequest(tt.path, fields...))
			if strings.Join(got, "+") != tt.want || tt.want == "" && len(got) != 0 {
				t.Errorf("%s offering %q: %q, want %q", tt.path, tt.offers, got, tt.want)
			}
			if got := c.ask(); got != "<nil>|"+tt.want {
				t.Errorf("%s offering %q: Conn says %q", tt.path, tt.offers, got)
			}
			c.Close()
		}
	})
}

func TestARequiredSubprotocolThatIsNotOfferedIs400(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/chat", newEcho(), engine.RequireSubprotocol("v2", "v1"))
		for _, offer := range [][]string{nil, {"Sec-WebSocket-Protocol: v3"}, {"Sec-WebSocket-Protocol:"}} {
			c := s.connect()
			c.send(upgradeRequest("/chat", offer...))
			c.expectRefusal(400)
			c.Close()
		}
		if got := s.connect().protocolOf(upgradeRequest("/chat", "Sec-WebSocket-Protocol: v1")); len(got) != 1 || got[0] != "v1" {
			t.Errorf("got %q", got)
		}
	})
}

func TestOnUpgradeMayChooseTheSubprotocol(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/choose/{it}", newUpgrader(func(u *engine.Upgrade) error {
			u.UserData = u.Subprotocol
			u.Subprotocol = strings.TrimPrefix(u.Request.PathValue("it"), "-")
			return nil
		}), engine.Subprotocols("v2", "v1"))
		for _, it := range []string{"v1", "v2", "other", ""} {
			c := s.connect()
			got := c.protocolOf(upgradeRequest("/choose/-"+it, "Sec-WebSocket-Protocol: v1, other, v2"))
			if strings.Join(got, "+") != it || it == "" && len(got) != 0 {
				t.Errorf("answer names %q, want %q", got, it)
			}
			if got := c.ask(); got != "v2|"+it {
				t.Errorf("%q, want the engine's choice v2 seen and %q chosen", got, it)
			}
			c.Close()
		}
		for _, it := range []string{"v3", "V1"} { // not offered: the client would have to fail the connection
			c := s.connect()
			c.send(upgradeRequest("/choose/"+it, "Sec-WebSocket-Protocol: v1, other, v2"))
			c.expectRefusal(500)
			c.Close()
		}
		if logs := s.logs.String(); !strings.Contains(logs, "does not offer") {
			t.Errorf("logged: %q", logs)
		}
	})
}

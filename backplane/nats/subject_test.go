package nats

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"zeroframe/engine"
)

// readToken is appendToken the other way round: where it succeeds, no two names have the same token.
func readToken(t *testing.T, token string) string {
	if rest, is := strings.CutPrefix(token, "=="); is {
		name, err := base64.RawURLEncoding.DecodeString(rest)
		if err != nil {
			t.Fatal(err)
		}
		return string(name)
	}
	head, rest, escaped := strings.Cut(token, "=")
	name := []byte(head)
	for escaped {
		c, err := hex.DecodeString(rest[:2])
		if err != nil {
			t.Fatal(err)
		}
		name = append(name, c...)
		head, rest, escaped = strings.Cut(rest[2:], "=")
		name = append(name, head...)
	}
	return string(name)
}

func TestATopicIsOneTokenOfASubjectWhateverItsName(t *testing.T) {
	names := []string{"room", "Room/42", "a.b", "*", ">", "a.*.>", ".", "..", " ", "\t\r\n", "=", "==", "=41", "=2E", "==YQ", "a b c d e f", "日本語",
		"\x00", "\xff\xfe", "$SYS",
		strings.Repeat("x", engine.MaxTopicName), strings.Repeat(".", engine.MaxTopicName),
		strings.Repeat("\x00", engine.MaxTopicName)}
	for c := range 256 {
		names = append(names, string([]byte{byte(c)}), string([]byte{'a', byte(c)}))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		name := make([]byte, 1+random.IntN(40))
		for i := range name {
			name[i] = "ab.*>= =41\x00\xff"[random.IntN(12)]
		}
		names = append(names, string(name))
	}
	for _, name := range names {
		token := string(appendToken(nil, name))
		for i := range len(token) {
			if c := token[i]; c <= ' ' || c > '~' || strings.IndexByte(".*>", c) >= 0 {
				t.Fatalf("the token of %q is %q", name, token)
			}
		}
		if len(token) > 2+(len(name)*4+2)/3 && len(token) > len(name) {
			t.Errorf("the token of %d bytes has %d", len(name), len(token))
		}
		if back := readToken(t, token); back != name {
			t.Errorf("%q has the token %q, which reads %q", name, token, back)
		}
	}
}

func TestATopicWithAnOrdinaryNameCanBeReadInItsSubject(t *testing.T) {
	s := newSubjects("app.live", engineID{1, 0xab})
	for name, want := range map[string]string{
		"room/42":  "app.live.t.room/42",
		"a.b":      "app.live.t.a=2Eb",
		"the room": "app.live.t.the=20room",
		"日本":       "app.live.t.==" + base64.RawURLEncoding.EncodeToString([]byte("日本")),
	} {
		if got := string(s.appendTopic(nil, name)); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if s.own != "app.live.presence.01ab000000000000" {
		t.Error(s.own)
	}
}

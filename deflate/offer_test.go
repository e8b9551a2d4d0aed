package deflate

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// RFC 6455, section 9.1.
func TestExtensionListsAreReadAsTheGrammarSays(t *testing.T) {
	bare := func(names ...string) (o []Offer) {
		for _, name := range names {
			o = append(o, Offer{Name: name})
		}
		return o
	}
	for _, c := range []struct {
		fields []string
		want   []Offer
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{" \t "}, nil},
		{[]string{"foo"}, bare("foo")},
		{[]string{"foo, bar"}, bare("foo", "bar")},
		{[]string{"foo", "bar"}, bare("foo", "bar")},
		{[]string{"foo,bar", "", "baz"}, bare("foo", "bar", "baz")},
		{[]string{",foo,, bar ,"}, bare("foo", "bar")},
		{[]string{"foo; a; b=1"}, []Offer{{"foo", []Param{{"a", ""}, {"b", "1"}}}}},
		{[]string{"foo;a=1;a=2"}, []Offer{{"foo", []Param{{"a", "1"}, {"a", "2"}}}}},
		{[]string{"\tfoo ;\ta = 1 , bar"}, []Offer{{"foo", []Param{{"a", "1"}}}, {Name: "bar"}}},
		{[]string{`foo; a="10"`}, []Offer{{"foo", []Param{{"a", "10"}}}}},
		{[]string{`foo; a="1\0"`}, []Offer{{"foo", []Param{{"a", "10"}}}}},
		{[]string{`foo; a="\1\0" ; b, bar`}, []Offer{{"foo", []Param{{"a", "10"}, {"b", ""}}}, {Name: "bar"}}},
		{[]string{"mux; max-channels=4; flow-control, deflate-stream"},
			[]Offer{{"mux", []Param{{"max-channels", "4"}, {"flow-control", ""}}}, {Name: "deflate-stream"}}},
	} {
		got, err := ParseOffers(c.fields...)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %v, %v; want %v", c.fields, got, err, c.want)
		}
	}
}

func TestMalformedExtensionListsAreRefused(t *testing.T) {
	for _, field := range []string{
		"foo bar", ";", "; a", "=", "foo;", "foo;;a", "foo; a=", "foo; =1", "foo; a=,bar", "foo=1", "foo; a b", "foo; a=1 2",
		`foo; a="`, `foo; a="1`, `foo; a=""`, `foo; a="1\`, `foo; a="1\"`, `foo; a="1 2"`, `foo; a="1,2"`, `foo; a="\""`, `foo; a="1"2`,
		`"foo"`, "foo; \"a\"=1", "f\x00o", "foo; a=\x7f", "fóo", "foo\n", "foo/bar", "foo; a=(1)",
	} {
		for _, fields := range [][]string{{field}, {"fine", field}, {field, "fine"}} {
			if got, err := ParseOffers(fields...); !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: %v, %v", fields, got, err)
			}
		}
	}
}

// An element must not run on from one header line into the next.
func TestElementsDoNotCrossHeaderLines(t *testing.T) {
	if got, err := ParseOffers("foo;", "a=1"); err == nil {
		t.Errorf("read as %v", got)
	}
}

func TestWrittenOffersReadBackTheSame(t *testing.T) {
	const field = "foo; a; b=1, permessage-deflate; client_max_window_bits=10"
	offers, err := ParseOffers(field)
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, o := range offers {
		written = append(written, o.String())
	}
	if got := strings.Join(written, ", "); got != field {
		t.Errorf("%q", got)
	}
}

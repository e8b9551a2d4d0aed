package secure

import "testing"

func TestLendingWorksWithThisReleaseOfGo(t *testing.T) {
	if !Lendable() {
		t.Fatalf("crypto/tls is not as expected: fields found: %v, alert found: %v", fields.ok, fields.ok && findsRecords())
	}
}

func TestWholeRecordsAreCounted(t *testing.T) {
	record := func(length int) []byte {
		return append([]byte{23, 3, 3, byte(length >> 8), byte(length)}, make([]byte, length)...)
	}
	three := append(append(record(1), record(300)...), record(20)...)
	for name, c := range map[string]struct {
		b            []byte
		enough, want int
	}{
		"nothing":                     {nil, 1, 0},
		"a part of a header":          {record(9)[:4], 1, 0},
		"a header":                    {record(9)[:5], 1, 0},
		"an empty record":             {record(0), 1, 5},
		"all but a byte":              {record(9)[:13], 1, 0},
		"one":                         {record(9), 1, 14},
		"three, the last cut":         {three[:len(three)-1], 1 << 20, 6 + 305},
		"three":                       {three, 1 << 20, 6 + 305 + 25},
		"as many as are enough":       {three, 7, 6 + 305},
		"no more than enough":         {three, 6, 6},
		"the longest":                 {record(maxRecord - recordHeader), 1, maxRecord},
		"a part of the longest":       {record(maxRecord - recordHeader)[:1000], 1, 0},
		"one too long, for its error": {append(record(1), record(maxRecord)[:10]...), 1 << 20, 16},
	} {
		if got := records(c.b, maxRecord, c.enough); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := records(record(maxRecord13)[:100], maxRecord13, 1); got != 100 {
		t.Errorf("one too long for TLS 1.3: %d, want %d", got, 100)
	}
}

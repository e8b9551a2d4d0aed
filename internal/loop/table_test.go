package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whoever comes and goes, the table has those that are there and nobody else, and streams leave no gaps in it.
func TestTableHasWhoIsThere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table table
	var here []*Conn
	free := random.Perm(5 * pageLen)
	most := 0
	for step := range 4000 {
		coming := random.IntN(4) != 0
		if step >= 2000 {
			coming = !coming
		}
		if coming && len(free) > 0 {
			c := new(Conn)
			c.Init(nil)
			if random.IntN(2) == 0 {
				c.fd, free = int32(free[0]), free[1:]
			}
			table.enter(c)
			here = append(here, c)
		} else if len(here) > 0 {
			i := random.IntN(len(here))
			c := here[i]
			here = slices.Delete(here, i, i+1)
			table.leave(c)
			if c.fd >= 0 {
				if table.at(int(c.fd)) != nil {
					t.Fatalf("descriptor %d is still there", c.fd)
				}
				free = append(free, int(c.fd))
			}
		}
		most = max(most, table.streamed)
		if step%100 == 0 {
			expectTable(t, &table, here)
		}
	}
	if most < 3*pageLen {
		t.Fatalf("%d streams at most: too few for this test to say much", most)
	}
	for _, c := range here {
		table.leave(c)
	}
	expectTable(t, &table, nil)
	if len(table.streams) > 2 {
		t.Errorf("%d pages are left without a stream", len(table.streams))
	}
	for _, fd := range []int{-1, 0, 5*pageLen - 1, 5 * pageLen, 1 << 30} {
		if table.at(fd) != nil {
			t.Errorf("descriptor %d is there", fd)
		}
	}
}

func expectTable(t *testing.T, table *table, want []*Conn) {
	t.Helper()
	got := make(map[*Conn]bool)
	for _, c := range table.list(nil) {
		if got[c] {
			t.Fatal("a connection is there twice")
		}
		got[c] = true
	}
	streams := 0
	for _, c := range want {
		if !got[c] {
			t.Fatal("a connection is missing")
		}
		if c.fd >= 0 && table.at(int(c.fd)) != c {
			t.Fatalf("descriptor %d has another's connection", c.fd)
		}
		if c.fd < 0 {
			streams++
		}
	}
	if len(got) != len(want) || table.streamed != streams {
		t.Fatalf("%d connections, %d of them streams, want %d and %d", len(got), table.streamed, len(want), streams)
	}
}

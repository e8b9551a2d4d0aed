package zeroframe_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of docs/architecture.md, from the ground up. What a package imports of this module stands below
// it. A folder stands for those in it.
var floors = [][]string{
	{"mask", "pool", "internal/utf8x", "internal/wheel"},
	{"frame", "deflate", "internal/handshake", "internal/loop"},
	{"internal/bridge", "internal/memconn", "internal/netconn", "internal/proxied", "internal/secure"},
	{"engine"},
	{"backplane", "bench"},
	{"cmd", "examples"},
}

// alone are the packages that are useful without the rest: they do no I/O.
var alone = []string{"mask", "pool", "frame", "deflate"}

// netpoll is what one file alone may know, so that another poller can take its place.
const netpoll = "github.com/panjf2000/gnet/v2/pkg/netpoll"

func TestImportsPointDown(t *testing.T) {
	seen := make([]bool, len(floors))
	eachImport(t, func(file, path string) {
		dir := filepath.ToSlash(filepath.Dir(file))
		at := floorOf(dir)
		if at < 0 {
			t.Errorf("%s stands on no floor", file)
			return
		}
		seen[at] = true
		if below, ours := strings.CutPrefix(path, "zeroframe/"); ours && floorOf(below) >= at {
			t.Errorf("%s imports %s, which does not stand below it", file, path)
		}
		switch path {
		case "net", "net/http", "os", "syscall", "golang.org/x/sys/unix":
			if slices.Contains(alone, dir) {
				t.Errorf("%s imports %s", file, path)
			}
		case netpoll:
			if file != "internal/loop/poller_netpoll.go" {
				t.Errorf("%s imports gnet's poller", file)
			}
		}
	})
	if slices.Contains(seen, false) {
		t.Errorf("floors without an import: %v", seen)
	}
}

// floorOf is the floor that a folder stands on, -1 if on none.
func floorOf(dir string) int {
	return slices.IndexFunc(floors, func(floor []string) bool {
		return slices.ContainsFunc(floor, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
	})
}

// eachImport calls f for what each file of this module imports. Tests may import what they like; nested modules are
// users.
func eachImport(t *testing.T, f func(file, path string)) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (err == nil || d.Name()[0] == '.') {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(path), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

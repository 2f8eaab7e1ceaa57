package upstream

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseSystemFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"nameserver 10.0.0.1":        "10.0.0.1",
		"nameserver\t10.0.0.1 # a\n": "10.0.0.1",
		"# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameservers 10.0.0.3\n nameserver 10.0.0.4\n": "10.0.0.4",
		"domain a\nsearch a b\noptions ndots:5 timeout:1\nnameserver fd00::1\r\n":                   "[fd00::1]",
		"nameserver fe80::1%eth0\nnameserver ::ffff:10.0.0.1\nnameserver 10.0.0.1\n":                "[fe80::1%eth0] 10.0.0.1",
		"nameserver dns.example\nnameserver 0.0.0.0\nnameserver 10.0.0.1:53\nnameserver 10.0.0.2":   "10.0.0.2",
		"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n":      "10.0.0.1 10.0.0.2 10.0.0.3",
	} {
		var got []string
		for _, server := range parseSystemFile([]byte(text)) {
			got = append(got, server.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Of a file that is too long, the line that is cut does not count: half an address
// may be one, too.
func TestLongSystemFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	const first, second = "nameserver 10.0.0.1\n", "nameserver 10.0.0.123\n"
	for beyond, want := range map[int]int{0: 2, 1: 2, 2: 1, 3: 1, len(second): 1, len(second) + 1: 1} {
		text := first + "#" + strings.Repeat("x", maxSystemFile+beyond-len(first)-len("#\n")-len(second)) + "\n" + second
		if beyond == 1 {
			text = strings.TrimSuffix(text, "\n") // whole without its end
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		servers, err := readSystemFile(file)
		if err != nil || len(servers) != want || want == 2 && servers[1].String() != "10.0.0.123" {
			t.Errorf("%d bytes too many: %v, %v", beyond, servers, err)
		}
	}
}

func FuzzParseSystemFile(f *testing.F) {
	f.Add([]byte("nameserver 10.0.0.1\nnameserver fe80::1%eth0\noptions a\n"))
	f.Add([]byte("nameserver\x00 1.1.1.1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		servers := parseSystemFile(text)
		if len(servers) > maxSystemServers {
			t.Errorf("%d servers", len(servers))
		}
		for _, server := range servers {
			if again, err := ParseServer(server.String()); err != nil || again != server {
				t.Errorf("%v is %v, %v", server, again, err)
			}
		}
	})
}

// The file is followed: looked at when there is a question, and not more often
// than it may be.
func TestSystemPool(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := newMemory(t, honest, honest, honest)
		p := SystemPool(file, Config{Dial: n.dial})
		t.Cleanup(p.Close)
		wantError(t, p, ErrFailed, "resolv.conf", "no such file")
		write("search corp.example\n")
		wantError(t, p, ErrFailed, "no such file")
		time.Sleep(lookEvery)
		wantError(t, p, ErrFailed, "names no name server")
		write("nameserver 10.0.0.1\nnameserver 10.0.0.2\n")
		time.Sleep(lookEvery)
		wantHonest(t, p, n.servers()[0])
		kept := slices.Clone(p.members)
		write("nameserver 10.0.0.2\nnameserver 10.0.0.3\n")
		wantHonest(t, p, n.servers()[0])
		time.Sleep(lookEvery)
		wantHonest(t, p, n.servers()[1])
		if p.members[0] != kept[1] {
			t.Error("a server that stayed was forgotten")
		}
		os.Remove(file)
		time.Sleep(lookEvery)
		wantHonest(t, p, n.servers()[1])
		write("")
		time.Sleep(lookEvery)
		wantError(t, p, ErrFailed, "names no name server")
	})
}

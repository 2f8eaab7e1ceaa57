package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport/sallyport/"

// house is who may import whom, and what each package is kept free of that
// freedom for. docs/architecture.md draws the same. Tests may import anything.
var house = map[string]struct {
	may []string
	why string
}{
	"sta/ticket":               {nil, "the ticket's format is pure, so that every side can be sure it judges alike"},
	"sta/revlog":               {[]string{"sta/ticket"}, "nodes and gateways alike keep the log, so it knows neither"},
	"sta":                      {[]string{"sta/revlog", "sta/ticket"}, "the authority knows neither its doors nor its stores"},
	"sta/api":                  {[]string{"sta", "sta/ticket"}, "a door knows the authority and nothing behind it"},
	"sta/ctxsta":               {[]string{"sta", "sta/ticket"}, "a door knows the authority and nothing behind it"},
	"sta/boltstore":            {[]string{"sta", "sta/ticket"}, "a store is told what to keep, not what for"},
	"sta/redisstore":           {[]string{"sta", "sta/ticket"}, "a store is told what to keep, not what for"},
	"sta/redisstore/redistest": {nil, "a Redis for tests is no part of what is tested"},
	"sta/storetest":            {[]string{"sta", "sta/ticket"}, "the suite must not favour a store"},
	"sta/auditlog":             {[]string{"sta", "sta/ticket"}, "the audit file is told what to keep, not what for"},
	"sta/follow":               {[]string{"sta/revlog", "sta/ticket"}, "a gateway's side of an authority must work across the network, so it may not reach into one"},
	"tunnel/socks":             {nil, "a wire format needs nobody"},
	"tunnel/deadline":          {nil, "a queue does not know what waits in it"},
	"tunnel/record":            {nil, "what is to be reviewed in an hour may lean on the standard library and its ChaCha20 alone"},
	"tunnel/internal/epoll":    {nil, "what wakes tunnels does not know what they are"},
	"tunnel":                   {[]string{"tunnel/deadline", "tunnel/internal/epoll", "tunnel/record", "tunnel/socks"}, "carriers know nothing of tickets and policy"},
	"tunnel/quic":              {[]string{"tunnel"}, "a carrier knows streams, and nothing of tickets and policy"},
	"tunnel/httpconnect":       {[]string{"tunnel", "tunnel/socks"}, "a carrier knows streams, and nothing of tickets and policy"},
	"splitdns":                 {[]string{"splitdns/internal/wire", "splitdns/stub", "splitdns/upstream"}, "names are resolved alike whoever asks"},
	"splitdns/upstream":        {[]string{"splitdns/internal/wire"}, "a DNS server is asked the same way whoever's zone it is"},
	"splitdns/stub":            {[]string{"splitdns/internal/wire"}, "questions are read the same way whoever answers them"},
	"splitdns/internal/wire":   {nil, "what the wire fixes depends on nobody"},
	"certs":                    {nil, "an identity does not depend on what is served with it"},
	"gateway/policy":           {nil, "a decision must be repeatable from its arguments alone"},
	"gateway/policy/lint":      {[]string{"gateway/policy"}, "a policy is judged by itself, without gateway, network or clock"},
	"gateway/policy/export":    {[]string{"gateway/policy"}, "what devices are told is made of the policy alone"},
	"gateway":                  {[]string{"tunnel", "tunnel/deadline", "tunnel/socks", "gateway/policy", "sta/ticket"}, "the gateway meets authorities, resolvers and logs through interfaces and hooks"},
	"bench":                    {[]string{"bench/evidence", "bench/exchange", "bench/load", "bench/report"}, "what measures a gateway must be a black box to it, and to its authority"},
	"bench/standin":            {nil, "the stand-in mail server must be a black box to the gateway"},
	"bench/evidence":           {nil, "what a host did is true whoever asks"},
	"bench/exchange":           {nil, "the two ends of a protocol need nobody else"},
	"bench/load":               {[]string{"bench/exchange", "tunnel/socks"}, "what loads a gateway must be a black box to it"},
	"bench/report":             {[]string{"bench/evidence", "bench/exchange", "bench/load", "bench/report/chart"}, "a report is made of the record and nothing else"},
	"bench/report/chart":       {nil, "a picture does not know what of"},
	"bench/hotpath":            {[]string{"tunnel/socks"}, "what measures the gateway must be a black box to it"},

	"cmd/sallyport/internal/config":  {[]string{"gateway/policy", "splitdns/upstream", "sta", "sta/ticket"}, "reading a file starts nothing; it borrows the rules for services, DNS servers, keys and pins"},
	"cmd/sallyport/internal/connect": {[]string{"certs", "gateway/policy", "gateway/policy/export", "splitdns/stub", "tunnel", "tunnel/quic", "tunnel/socks"}, "the device's side knows of the gateway only what goes over the wire"},
}

// wired may import all: they are where the parts meet.
var wired = []string{"cmd/sallyport", "cmd/sallyport/internal/node", "cmd/sallyport/internal/demo"}

// outside names libraries that stay in their corner.
var outside = map[string][]string{
	"github.com/rs/zerolog":                   {"cmd/sallyport", "cmd/sallyport/internal/node", "cmd/sallyport/internal/demo"},
	"golang.org/x/crypto":                     {"tunnel/record"},
	"github.com/spf13/cobra":                  {"cmd/sallyport"},
	"go.yaml.in/yaml/v3":                      {"cmd/sallyport/internal/config", "bench"},
	"go.etcd.io/bbolt":                        {"sta/boltstore", "sta/revlog"},
	"github.com/redis/go-redis/v9":            {"sta/redisstore", "sta/redisstore/redistest"},
	"github.com/golang-jwt/jwt/v5":            {"sta/ticket"},
	"github.com/armon/go-socks5":              {"tunnel", "tunnel/socks", "bench/hotpath"},
	"github.com/quic-go/quic-go":              {"tunnel/quic", "tunnel/httpconnect", "bench/hotpath"},
	"github.com/vishvananda/netlink":          {"bench/evidence"},
	"github.com/safchain/ethtool":             {"bench/evidence"},
	"github.com/HdrHistogram/hdrhistogram-go": {"bench/load"},
	"github.com/miekg/dns":                    {"splitdns", "splitdns/stub", "splitdns/upstream"},
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	defer func() {
		for name := range house {
			if !seen[name] {
				t.Errorf("%s has a row and is gone", name)
			}
		}
	}()
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		row, known := house[name]
		seen[name] = true
		if !known && !slices.Contains(wired, name) {
			t.Errorf("%s has no row: say what it may import, and why", name)
		}
		for _, imported := range p.Imports {
			if ours, is := strings.CutPrefix(imported, module); is && known && !slices.Contains(row.may, ours) {
				t.Errorf("%s imports %s: %s", name, ours, row.why)
			}
			for library, corner := range outside {
				if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(corner, name) {
					t.Errorf("%s imports %s, which stays in %v", name, library, corner)
				}
			}
		}
		for _, word := range []string{"util", "utils", "common", "helpers", "types", "models"} {
			if strings.HasSuffix("/"+name, "/"+word) {
				t.Errorf("%s: a package is named after what it is about", name)
			}
		}
	}
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listedPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < len(house) {
		t.Fatalf("found %d packages, fewer than have a row", len(packages))
	}
	return packages
}

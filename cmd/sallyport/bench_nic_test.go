package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// benchNICSays runs bench nic and returns what it printed.
func benchNICSays(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newBenchNIC()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	mistakesAreUsage(cmd)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBenchNIC(t *testing.T) {
	t.Parallel()
	text, err := benchNICSays(t, "lo")
	if err != nil || !strings.Contains(text, "virtual (loopback)") || !strings.Contains(text, "line rate unknown") {
		t.Errorf("%v\n%s", err, text)
	}
	text, err = benchNICSays(t, "lo", "--json", "--watch", "50ms")
	var seen nicSight
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err != nil || len(seen.Host.Interfaces) != 1 || len(seen.Samples) != 1 || seen.Advice == nil {
		t.Errorf("%v\n%s", err, text)
	}
	if s := seen.Samples; len(s) == 1 && (s[0].Took <= 0 || len(s[0].Interfaces) != 1) {
		t.Errorf("%+v", s[0])
	}
}

func TestBenchNICMistakes(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"no-such-interface"}, {"--watch", "-1s"}, {"--watch", "soon"}, {"--nonsense"}} {
		_, err := benchNICSays(t, args...)
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
}

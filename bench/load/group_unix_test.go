//go:build unix

package load

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What a trigger has started ends with it: here a child that keeps a FIFO open, of a
// command that goes on for ever, and of one that ends.
func TestTriggersChildrenEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		fails  bool
	}{
		"waits": {`sleep 600 > "$0" & wait`, true},
		"ends":  {`exec 3> "$0"; sleep 600 >&3 & exit 0`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			childEnds(t, c.script, c.fails)
		})
	}
}

func childEnds(t *testing.T, script string, fails bool) {
	w := newWorld(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		f, err := os.Open(fifo) // waits for the child
		if err == nil {
			_, err = io.Copy(io.Discard, f) // until it has ended
			err = errors.Join(err, f.Close())
		}
		ended <- err
	}()
	s := Scenario{Kind: Revoke, Devices: 1, Ramp: 100 * time.Millisecond, Sustain: time.Second, Trigger: []string{"sh", "-c", script, fifo}}
	var exit *exec.ExitError
	if _, err := Run(t.Context(), w.plan("tcp", w.service, s), Observer{}); errors.As(err, &exit) != fails {
		t.Errorf("%v", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the command's child lives on")
	}
}

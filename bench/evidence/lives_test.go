package evidence

import (
	"os"
	"os/exec"
	"testing"
)

func TestLives(t *testing.T) {
	child := exec.Command(os.Args[0], "-test.run=^$")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	for pid, lives := range map[int]bool{os.Getpid(): true, os.Getppid(): true, child.Process.Pid: false, 0: false, -1: false, 1 << 30: false} {
		if Lives(pid) != lives {
			t.Errorf("%d is said to live: %t", pid, !lives)
		}
	}
}

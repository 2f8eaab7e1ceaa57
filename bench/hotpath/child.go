package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// child is a process that was started and will be waited for. The end of the
// context that it was started with kills its group.
type child struct {
	name     string
	cmd      *exec.Cmd
	said     *transcript   // of standard error
	unfollow func() bool   // lets go of the context
	called   func() error  // nil until the context has ended
	ended    chan struct{} // closed when the process has been waited for
	err      error         // how it ended; read it after ended
	told     bool          // to end; only whoever started it tells
	killed   bool          // because it did not
}

// grace is how long a child may take to end once told to.
const grace = 5 * time.Second

// start starts a process. Its standard input and output are what cmd has.
func start(ctx context.Context, name string, cmd *exec.Cmd) (*child, error) {
	c := &child{name: name, cmd: cmd, said: &transcript{}, called: ctx.Err, ended: make(chan struct{})}
	cmd.Stderr = c.said
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	c.unfollow = context.AfterFunc(ctx, func() { c.signalGroup(syscall.SIGKILL) })
	go func() {
		defer close(c.ended)
		c.err = cmd.Wait()
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// signalGroup does nothing once the process has been waited for: the number may
// be somebody else's by then.
func (c *child) signalGroup(s syscall.Signal) {
	select {
	case <-c.ended:
	default:
		_ = syscall.Kill(-c.pid(), s)
	}
}

// end tells the process to end, and ends it if it does not within a time. After
// the first call it does nothing. It is an error if the process had ended before
// anybody wanted it to.
func (c *child) end(within time.Duration, tell func()) error {
	if c.told {
		return nil
	}
	c.told = true
	defer c.unfollow()
	select {
	case <-c.ended:
		if c.called() != nil {
			return nil
		}
		return c.death()
	default:
	}
	tell()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-c.ended:
	case <-late.C:
		c.killed = true
		c.signalGroup(syscall.SIGKILL)
		<-c.ended
	}
	return nil
}

// death says that the process ended and nobody wanted it to.
func (c *child) death() error {
	how := "without an error"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s ended by itself, %s\n%s", c.name, how, c.said.tail())
}

// peer is a child in one of this program's roles.
type peer struct {
	*child
	stdin  io.WriteCloser
	stdout *os.File
	out    *json.Encoder
	in     *json.Decoder
}

// startPeer starts this program again, in a role.
func startPeer(ctx context.Context, role string, setup any) (*peer, ready, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, ready{}, err
	}
	cmd := exec.Command(self, "-role", role)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, ready{}, err
	}
	// Not StdoutPipe, which Wait would close under the reader.
	stdout, theirs, err := os.Pipe()
	if err != nil {
		return nil, ready{}, err
	}
	cmd.Stdout = theirs
	c, err := start(ctx, role, cmd)
	_ = theirs.Close()
	if err != nil {
		_ = stdout.Close()
		return nil, ready{}, err
	}
	p := &peer{child: c, stdin: stdin, stdout: stdout, out: json.NewEncoder(stdin), in: json.NewDecoder(stdout)}
	var first ready
	if err := p.ask(ctx, setup, &first); err != nil {
		_ = p.stop() // could only say the same
		return nil, ready{}, err
	}
	return p, first, nil
}

// ask sends one line and reads the answer.
func (p *peer) ask(ctx context.Context, question, answer any) error {
	err := p.out.Encode(question)
	if err == nil {
		err = p.in.Decode(answer)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
		<-p.ended
		return p.death()
	case err != nil:
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// obey gives a client an order.
func (p *peer) obey(ctx context.Context, o order) (outcome, error) {
	var answer outcome
	if err := p.ask(ctx, o, &answer); err != nil {
		return outcome{}, err
	}
	if answer.Error != "" {
		return outcome{}, fmt.Errorf("%s: %s", p.name, answer.Error)
	}
	return answer, nil
}

func (p *peer) stop() error {
	err := p.end(grace, func() { _ = p.stdin.Close() })
	_ = p.stdout.Close()
	return err
}

package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Options say which demo.
type Options struct {
	// Once ends the demo after its steps, and leaves nothing behind.
	Once bool
	// Out takes what is shown.
	Out io.Writer
	// Command is how this program is called in the commands that are printed.
	Command string
}

// setUpLimit bounds the steps; they take a second or two.
const setUpLimit = time.Minute

// Run shows the demo, and then stays up until ctx ends, unless Once. The error
// names the first step that did not hold.
func Run(ctx context.Context, o Options) (err error) {
	c := &console{out: o.Out, began: time.Now()}
	find := fixedPlace
	if o.Once {
		find = temporaryPlace
	}
	p, err := find()
	if err != nil {
		return err
	}
	defer func() {
		if left := p.leave(); err == nil {
			err = left
		}
		if o.Once && err == nil {
			c.step("all of that held; nothing is left behind")
		}
	}()
	s, err := start(ctx, p, c, o.Once)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := s.stop(); err == nil {
			err = stopped
		}
	}()
	if err := s.show(ctx); err != nil {
		return err
	}
	if o.Once {
		return nil
	}
	c.say(s.farewell(o.Command))
	select {
	case <-ctx.Done():
	case err := <-s.node.Failed():
		return err
	}
	kept := "removed " + p.dir
	if p.keep {
		kept = fmt.Sprintf("left on the disk: %s (rm -r removes it)", p.dir)
	}
	c.say("stopping; " + kept)
	return nil
}

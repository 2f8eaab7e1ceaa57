package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// console prints steps with the time since the demo began. What happens in the
// background prints too, so lines are whole.
type console struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

// step says what has been shown.
func (c *console) step(format string, args ...any) { c.line("", format, args...) }

// quote shows a line as it stands in somebody's log.
func (c *console) quote(who, line string) { c.line("  "+who+" | ", "%s", line) }

func (c *console) line(before, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "%7.3f s  %s%s\n", time.Since(c.began).Seconds(), before, fmt.Sprintf(format, args...))
}

// say prints text without a time.
func (c *console) say(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintln(c.out, strings.TrimSuffix(text, "\n"))
}

package splitdns

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errDefect is what became of a look-up that ran into a defect.
var errDefect = errors.New("a defect, which the log tells more of")

// catch is deferred where bytes of strangers are read on goroutines of our own: a
// defect ends what was under way and not the process, if there is somebody to be
// told.
func (r *Resolver) catch(failed func(error)) {
	if r.told == nil {
		return
	}
	if value := recover(); value != nil {
		r.told(value, debug.Stack())
		failed(fmt.Errorf("%w: %w", ErrFailed, errDefect))
	}
}

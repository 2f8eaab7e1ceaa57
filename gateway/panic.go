package gateway

import "runtime/debug"

// panicHook is Hooks.Panicked.
type panicHook func(value any, stack []byte)

// catch is deferred in goroutines that no carrier made: a defect in one of them
// ends what it is about and not the process, if there is somebody to be told.
func (told panicHook) catch() {
	if told == nil {
		return
	}
	if value := recover(); value != nil {
		told(value, debug.Stack())
	}
}

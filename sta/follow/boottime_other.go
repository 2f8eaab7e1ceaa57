//go:build !linux

package follow

import "time"

// Boottime is before everything: nothing counts as fresh.
func (Kernel) Boottime() time.Duration { return never }

// BootID is not known.
func (Kernel) BootID() string { return "" }

// Package deadline keeps many deadlines behind one timer.
//
// A gateway with fifty thousand idle tunnels has fifty thousand moments at
// which something would have to end, and next to none of them ever come: a
// tunnel that moves a byte puts its moment off. A runtime timer for each costs
// some 150 bytes, in three pieces for the garbage collector to visit. Here
// an owner embeds an Entry of 24 bytes, and the Queue adds 16.
//
//	       Set              Set (sooner or later)
//	out ──────────▶ in ───────────────────────────┐
//	 ▲               │ ▲                          │
//	 ├───────────────┤ └──────────────────────────┘
//	 │   Clear       │
//	 └───────────────┘ its time has come: it is out first, then told: Due()
//
// The deadlines are a heap, and the timer is set to the first of them. It is
// brought forward when an earlier one is set, but never put off: it fires once
// in vain instead, and looks again. So moving a deadline ahead of time, which
// is what tunnels do all day, touches no timer. While nothing is due there is
// no goroutine; while something is there is one, and it calls one owner after
// the other with nothing locked.
//
// The clock is monotonic, and stands still while the machine is suspended. A
// step of the wall clock ends nothing.
package deadline

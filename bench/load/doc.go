// Package load is one client of a benchmark: it makes the operations of a scenario
// fall due, does them through an endpoint, and says how long each took.
//
// # Open loops
//
// Devices do not wait for one another. So operations fall due by a schedule that is
// fixed before the run begins, a function of the Plan alone, and a gateway that slows
// down does not slow the schedule down with it:
//
//	scheduled        began              last byte
//	────┬──────────────┬────────────────────┬────► time
//	    │◄──── slip ───►                    │
//	    │◄──────────── latency ────────────►│
//
// Latency is from the scheduled moment, whatever the reason why an operation began
// later. If a gateway stands still for 300 ms, every operation that fell due in them
// shows what was left of the 300 ms, and not only the few that were under way
// (coordinated omission). Slip is the generator's own share: if it is not small
// beside the latency, the run says more about the generator than about the gateway.
// What waits for MaxInFlight is slip. What waits for one of the tunnels that are held
// is not: the generator was ready, and all of them were busy. Nor is what a device
// waits for that is due, and whose tunnel is not there yet, or is just being lost.
//
// Some things are closed loops by nature. Bulk moves as much as goes through, so its
// figure is throughput, and its latencies compare with nothing. A device polls again
// when its last poll was answered; each poll has its own moment then, at which it is
// due to be answered, and latency is from that. What an operation does in several
// steps, one after the other, has a row for each step, reckoned from the end of the
// step before, and mostly one for the whole, reckoned from the scheduled moment. The
// first step and the whole share the slip, which is in the row that the operation is
// called by.
//
// How exact the schedule is can be seen before anything is measured: SelfTest runs it
// with operations that do nothing. On a 2-core virtual machine that others kept busy,
// of 20,000 operations a second half began within 15 µs of their moment, 99 % within
// 2 ms, and all within 5. On Linux; elsewhere runtime timers may be a millisecond late.
//
// # Several clients
//
// Clients on several hosts share a plan by number: each does the operations, and is
// the devices, whose number modulo Of is its Share. Merge makes one result of theirs.
//
// # Kinds
//
// A run ramps up, sustains, ramps down; only what was scheduled within sustain counts.
// Where a kind holds tunnels, they are opened in the ramp, evenly, and Held says how
// many stood at its end. Bytes are those of the bodies of an exchange (package
// exchange); requests and answers are of sizes that are usual for ActiveSync and EWS
// but our own choice, unless a source is given. Scale divides all times of a day.
//
//	setup        Rate 100. Opens a tunnel, 600 B up and down, closes it. Rows: setup
//	             (until the tunnel stands), exchange.
//	idle         Devices 1,000. Holds tunnels, counts those that die, and uses each
//	             once in the last tenth of sustain: exchange, 600 B up and down.
//	bulk         Streams 4, Direction down. Transfers of 16 MiB, one after the other;
//	             of both directions, every other stream is up. Row: transfer.
//	requests     Rate 500 over 100 tunnels: exchange, 600 B up, 4 KiB down.
//	push         Devices 1,000 hold long polls, 400 B up and 200 B down, from 8 to 59
//	             minutes (Direct Push: at most 3,540 s), Scale 60; the next follows at
//	             once. When a run begins the first polls are under way already. Row:
//	             poll, from when the answer was due. A device that lost its tunnel
//	             opens another after 1 to 2 s: setup.
//	storm        1,000 devices are woken within 10 s, evenly, or at random (Poisson).
//	             Half are Warm: they hold a poll, whose answer wakes them. The others
//	             open a tunnel, and close it in the end. Each syncs (1 KiB up, 2 KiB
//	             down) and fetches a mail (600 B up, 20 KiB down). Rows: wake (to the
//	             last byte), poll, setup, sync, fetch. A woken app has 10 s on Android
//	             and 30 s on iOS: Within10s and Within30s of wake are exact.
//	morning      1,000 devices log on within 30 s: open a tunnel, three exchanges of
//	             1 KiB up and 8 KiB down, then hold a poll until the run ends. Rows:
//	             morning (until the third answer), setup, exchange.
//	revoke       1,000 tunnels are held. In the middle of sustain the client whose
//	             Share is 0 runs Trigger; row revoke is from then until each tunnel
//	             ends. Others, or a plan without Trigger, reckon from the middle of
//	             sustain. Tunnels that live on are Lived.
//	extender     12 accounts of 1,250 mailboxes each (the figures of a Cloud Extender
//	             on Exchange 2010). An account holds a streaming connection for each
//	             200 mailboxes, subscribes (1 KiB up and down), gets an event (1.5 KiB)
//	             for every mail, and renews connection and subscription every 30
//	             minutes. A mailbox gets a mail every 10 minutes on average: ours. Rows:
//	             subscribe, event, setup. Scale 10.
//	attachments  Rate 5 over 50 tunnels: 600 B up, down from 50 KiB to 10 MiB,
//	             log-normal around 724 KiB. Row: attachment.
//	day          Of 500 devices four fifths hold polls as in push. Over the tunnels of
//	             the others, at Rate 20: 70 % syncs (1 KiB up, 2 KiB down), 10 %
//	             attachments, and 20 % new tunnels as in setup. The shares are ours.
//	             Rows: poll, sync, attachment, setup, exchange.
//
// # What it takes
//
// A held tunnel costs a goroutine and what crypto/tls keeps, no buffer of ours. Each
// takes a descriptor; Sources help where the ports of one address do not suffice
// (sources are bound without a port, so that each has all of them for each endpoint).
package load

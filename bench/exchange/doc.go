// Package exchange is what a benchmark says through a tunnel, and the service that
// it says it to. A client asks, the service answers, and the ask decides everything:
// how many bytes go up, how long the answer is held back, how many come down. So one
// service plays mail server, push channel and file server, and knows of none of them.
//
//	ask                                    answer
//	 0  'S' 'P' 'Q', version 1              0  'S' 'P' 'A', version 1
//	 4  write: bytes of one write           4  status: 0 good, 1 garbled, 2 refused
//	 8  key                                 8  key, as asked
//	16  up                                 16  down, as asked; 0 unless good
//	24  down                               24  late, nanoseconds
//	32  hold, nanoseconds                  32  down bytes
//	40  up bytes
//
// Numbers are unsigned and big-endian, of 4 bytes where they begin at 4, else of 8.
// A connection carries one exchange after the other until the client closes it;
// whatever the client sends while an answer is held back ends the connection.
//
// # Bodies
//
// Both bodies are made of blocks of 4 KiB. A block begins with 8 bytes that follow
// from the key, the direction and the block's number, and only they are looked at.
// Blocks that were lost, doubled, swapped or came from another exchange are seen that
// way (ErrGarbled), at one comparison for every 4 KiB. A byte that changed elsewhere
// is not seen: TCP and TLS check for that, and a benchmark that read every byte
// would measure itself.
//
// # Whose time
//
// A benchmark must know whether it measured the gateway or the service behind it. So
// the service keeps an Account of the time within exchanges. It is Waited while a
// read or a write has found nothing to do and waits for the other side; the call
// itself, with the kernel's copying, is Busy, as is everything else: checking,
// limits set by Rate and Extra, and whatever else slows it. Before an ask and during
// a hold it is neither. What cannot be told apart is the time from when the kernel
// woke a connection until a processor took it up: it is in Waited. A host whose
// processors are all busy shows that elsewhere.
//
// Answer.Late is the service's own share of one client's latency: from the last byte
// of the ask until it began to answer, less the hold.
//
// # Size
//
// A connection that idles, or whose answer is held back, costs a goroutine and a few
// hundred bytes besides what the kernel needs. Buffers of 64 KiB are lent while a
// body flows.
//
// Connections are bounded (Service.Most), by three quarters of the process's
// descriptors unless told otherwise: whoever shares the process, as the control
// connection of a benchmark does, is left the rest, however many come. What is beyond
// is closed at once and counted, for then the service was the limit.
//
// The service answers anybody. It belongs on a network for tests, never on the
// internet: it sends whatever it is asked for.
package exchange

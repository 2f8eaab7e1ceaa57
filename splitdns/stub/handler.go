package stub

import "context"

// Handler answers queries. It is called by many goroutines at once.
type Handler interface {
	// Answer returns an answer made by the query's own methods, or one that
	// Exchange brought for q.Wire(). nil is no answer: the asker waits in vain.
	// Answer must return soon after ctx has ended; it ends with the stream or
	// the socket.
	Answer(ctx context.Context, q *Query) []byte
}

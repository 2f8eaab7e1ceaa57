package load

import (
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the trigger of TestRevoke, and the process with few
// descriptors of TestDescriptors.
const (
	asTrigger = "SALLYPORT_TEST_TRIGGER"
	asPauper  = "SALLYPORT_TEST_PAUPER"
	quickExit = "GORACE=atexit_sleep_ms=0" // or the race detector makes it a second
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asTrigger) != "":
		conn, err := net.Dial("tcp", os.Getenv(asTrigger))
		if err != nil {
			os.Exit(1)
		}
		_, _ = conn.Read(make([]byte, 1)) // the gateway has begun to cut
		_ = conn.Close()
		os.Exit(0)
	case os.Getenv(asPauper) != "":
		os.Exit(pauper(os.Getenv(asPauper)))
	}
	goleak.VerifyTestMain(m)
}

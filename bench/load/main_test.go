package load

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the process with few descriptors of TestDescriptors.
const (
	asPauper  = "SALLYPORT_TEST_PAUPER"
	quickExit = "GORACE=atexit_sleep_ms=0" // or the race detector makes it a second
)

func TestMain(m *testing.M) {
	if plan := os.Getenv(asPauper); plan != "" {
		os.Exit(pauper(plan))
	}
	goleak.VerifyTestMain(m)
}

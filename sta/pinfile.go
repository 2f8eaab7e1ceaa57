package sta

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sallyport/sallyport/sta/ticket"
)

// ErrNoPin: there is a key set, but nothing to judge it by.
var ErrNoPin = errors.New("the pin of the root key is missing")

// PinPath is where the pin of the root key stands: beside the signing key, as
// NAME.pin. It is no secret, but it decides which key set counts, and so whose
// tickets do: only the authority's user may write it, or the folder it is in.
func PinPath(signing string) string { return signing + ".pin" }

// readPin reads the pin that Init wrote.
func readPin(path string) (string, error) {
	data, err := readPrivate(path, "is not its owner's alone", "make sure that it says the pin that init printed")
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: write what init printed, and what gateways elsewhere have, into %s, as one line, "+
			"and chmod 600 it. Do not take it from the store: it is the store that is judged by it", ErrNoPin, path)
	}
	if err != nil {
		return "", fmt.Errorf("pin of the root key: %w", err)
	}
	pin := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if err := ticket.CheckPin(pin); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return pin, nil
}

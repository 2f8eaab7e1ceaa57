package config

import (
	"errors"
	"io"

	"github.com/sallyport/sallyport/sta"
)

// checkClientKeys reads a client's key file as the authority will. No two
// clients may share a key: it is all that tells them apart.
func (r *reader) checkClientKeys(path string, client Client, owner map[string]string) {
	keys, err := readKeys(client.KeyFile)
	if err != nil {
		r.say(path, shown(client.KeyFile)+": "+err.Error())
		return
	}
	for _, key := range keys {
		if other, taken := owner[key.Reveal()]; taken {
			r.say(path, "holds a key of the client "+shown(other)+"; every client needs a key of its own")
			return
		}
		owner[key.Reveal()] = client.Name
	}
}

func readKeys(path string) ([]sta.Key, error) {
	f, err := open(path, true)
	if err != nil {
		return nil, errors.New("it cannot be read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, errors.New("it cannot be read")
	}
	return sta.ParseKeyFile(data)
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/sta"
)

const (
	// maxSecret is the greatest size of a file that holds a secret, in bytes.
	maxSecret = 64 << 10
)

// fileTest is a file that the configuration names.
type fileTest struct {
	n       *yaml.Node
	at      key
	is      string
	path    string
	written string
}

// ofSecret reports whether it is a secret, or the certificate that goes with one.
func (t fileTest) ofSecret() bool {
	return t.is == "secret" || strings.HasSuffix(t.at.form, ".cert")
}

// checkFiles looks at every file that must be there, and at the secrets that
// are. It writes nothing.
func (r *reader) checkFiles() {
	for _, t := range r.fileTests {
		if r.places[t.at.path].bad || t.is == "path" {
			continue
		}
		err := inspect(t.path, t.is != "file")
		if errors.Is(err, fs.ErrNotExist) && (t.is == "made" || r.withoutSecrets && t.ofSecret()) {
			if t.is != "made" {
				r.markBad(t.at.path) // so that nobody reads it
			}
			continue
		}
		if err != nil {
			r.reject(t.n, t.at, fileMessage(err, t))
		}
	}
}

// fileMessage says what is wrong with a file, for people.
func fileMessage(err error, t fileTest) string {
	name := shown(t.path)
	var exposed *exposedError
	switch {
	case looksSecret(t.written):
		return "needs the name of a file; this looks like a secret: put it into a file and write the file's name here ([secret])"
	case errors.Is(err, fs.ErrNotExist):
		return "no such file: " + name
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read " + name
	case errors.As(err, &exposed):
		return fmt.Sprintf("%s is open to others (mode %04o); run  chmod 600 %s  and replace what is in it, if it may be known",
			name, exposed.mode, name)
	case errors.Is(err, errEmpty):
		return name + " is empty"
	case errors.Is(err, errNotRegular):
		return name + " is no regular file"
	case errors.Is(err, errTooLarge):
		return name + " is larger than 64 KiB"
	}
	return name + " cannot be read"
}

var (
	errEmpty      = errors.New("empty")
	errNotRegular = errors.New("no regular file")
	errTooLarge   = errors.New("larger than 64 KiB")
)

// exposedError says that others than its owner may use a secret file.
type exposedError struct{ mode fs.FileMode }

func (e *exposedError) Error() string { return "open to others than its owner" }

// inspect opens a file as it will be opened later, and closes it again.
func inspect(path string, secret bool) error {
	f, err := open(path, secret)
	if err != nil {
		return err
	}
	return f.Close()
}

// open opens a regular file for reading. It looks before, since opening some
// devices does something, and judges the file that it opened, since that may
// be another one by then; should it be a pipe, it does not wait for a writer.
func open(path string, secret bool) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errNotRegular
	case info.Size() == 0:
		err = errEmpty
	case secret && info.Mode().Perm()&0o077 != 0:
		err = &exposedError{info.Mode().Perm()}
	case secret && info.Size() > maxSecret:
		err = errTooLarge
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// looksSecret reports whether a text is more likely a secret than the name of
// a file: a key as we want it, a ticket, or more than a file is called.
func looksSecret(text string) bool {
	_, err := sta.ParseKeyFile([]byte(text))
	return err == nil || len(text) > sta.MaxKeyLine || len(text) >= 32 && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < '0' || c > '9')
	})
}

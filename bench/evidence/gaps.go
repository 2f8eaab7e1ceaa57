package evidence

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// gaps gathers what could not be read.
type gaps []Gap

// add notes that something of a subject could not be read. What fails for the same
// reason on the same subject shares a line: "eth1: rings, channels".
func (g *gaps) add(subject, what string, err error) {
	if err == nil {
		return
	}
	g.say(subject, what, why(err))
}

// say is add with the reason in words. A driver has thousands of counters, which may
// all go back to 0 at once: the line ends where nobody reads any more.
func (g *gaps) say(subject, what, reason string) {
	const longest, more = 200, ", …"
	for i := range *g {
		had := &(*g)[i]
		if had.Why != reason || had.subject != subject {
			continue
		}
		switch {
		case strings.HasSuffix(had.What, " "+what), strings.HasSuffix(had.What, more):
		case len(had.What) > longest:
			had.What += more
		default:
			had.What += ", " + what
		}
		return
	}
	*g = append(*g, Gap{What: subject + ": " + what, Why: reason, subject: subject})
}

// errNotThere is for what a file or an answer should have held and does not.
var errNotThere = errors.New("it does not say")

// why puts an error into words. The path that an error carries is not repeated: what
// was looked for stands in the Gap already.
func why(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "no rights to read it"
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel does not show it"
	case errors.Is(err, errors.ErrUnsupported):
		return "the driver does not offer it"
	case errors.Is(err, syscall.ESRCH):
		return "no such process"
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return "no such device"
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

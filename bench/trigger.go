package bench

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/bench/load"
)

// triggerName is all that is said of a command: what it is called. A word with an equals
// sign is no name but an assignment that somebody meant for a shell, and may hold a
// password.
func triggerName(argv []string) string {
	if strings.Contains(argv[0], "=") {
		return "[secret]"
	}
	return filepath.Base(argv[0])
}

// redacted is a plan for a report.
func redacted(p load.Plan) load.Plan {
	p = p.Redacted()
	if argv := p.Scenario.Trigger; len(argv) > 0 {
		p.Scenario.Trigger = []string{triggerName(argv)}
	}
	return p
}

// withoutTrigger is an error's text with no more than the name of the command.
func withoutTrigger(text string, argv []string) string {
	if len(argv) == 0 {
		return text
	}
	name := triggerName(argv)
	return strings.NewReplacer(strconv.Quote(argv[0]), strconv.Quote(name), argv[0], name).Replace(text)
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the real program as testdata/script says, a file a
// behaviour. The commands beside testscript's own stand here; each leaves its
// output where stdout and stderr look for it.
func TestScripts(t *testing.T) {
	free := newPorts()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(4 * patience), // for a program that should have ended by itself
		Setup:               func(env *testscript.Env) error { return setUp(env, free) },
		Cmds: commands(map[string]func(*stage, []string){
			// Programs. A log is NAME.out or NAME.err of a program, or mail.
			"exits CODE PROGRAM [ARG...]":                 (*stage).exits,   // to its end
			"start NAME PROGRAM [ARG...]":                 (*stage).start,   // in the background
			"waitfor LOG PATTERN [VARIABLE...]":           (*stage).waitFor, // takes the pattern's groups
			"signal NAME SIGNAL":                          (*stage).signal,
			"end NAME CODE":                               (*stage).end,   // waits for it; the code may be failure
			"paste NAME TEXT [ID]":                        (*stage).paste, // into a shell the line that has it
			"extract FILE PATTERN VARIABLE [VARIABLE...]": (*stage).extract,
			"json FILE KEY[=VARIABLE] [KEY...]":           (*stage).json, // has these keys and no others

			// Ports.
			"freeports VARIABLE [VARIABLE...]": (*stage).freePorts,
			"occupy PORT":                      (*stage).occupy,
			"release PORT":                     (*stage).release,
			"closed PORT":                      (*stage).closed, // or is soon

			// Files.
			"secret FILE [TEXT]":             (*stage).secret, // 0600; without text a new key
			"edit FILE OLD NEW":              (*stage).edit,
			"mode PERMISSION FILE [FILE...]": (*stage).mode,
			"empty DIR [DIR...]":             (*stage).empty,
			"remember DIR":                   (*stage).remember,
			"unchanged DIR":                  (*stage).unchanged, // since then
			"nowhere SECRET FILE [FILE...]":  (*stage).nowhere,   // in no form
			"somewhere TEXT FILE [FILE...]":  (*stage).somewhere,

			// Servers, and the program among them.
			"mailserver":            (*stage).mailServer, // $MAIL, mail/ask.curl, mail/ping.curl
			"newmail":               (*stage).newMail,    // answers every Ping that is held
			"webserver":             (*stage).webServer,  // $WEB
			"example FILE":          (*stage).example,    // docs/examples/sallyport.yaml on $AUTHORITY, $GATEWAY, $MAIL
			"site":                  (*stage).site,       // mailserver, example sallyport.yaml, start serve
			"device NAME [FLAG...]": (*stage).device,     // a ticket, and start NAME sallyport connect: $PROXY
		}),
	})
}

// commands makes testscript's commands, by their usage.
func commands(by map[string]func(*stage, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	all := make(map[string]func(*testscript.TestScript, bool, []string))
	for usage, run := range by {
		words := strings.Fields(usage)
		least := slices.IndexFunc(words, func(word string) bool { return word[0] == '[' })
		if least < 0 {
			least = len(words)
		}
		all[words[0]] = func(ts *testscript.TestScript, not bool, args []string) {
			if not || len(args) < least-1 || len(args) > len(words)-1 && !strings.Contains(usage, "...") {
				ts.Fatalf("usage: %s", usage)
			}
			s := ts.Value(stageKey{}).(*stage)
			s.TestScript = ts
			run(s, args)
		}
	}
	return all
}

// stage is what a script has running.
type stage struct {
	*testscript.TestScript
	t         testing.TB
	free      *ports
	processes map[string]*process
	logs      map[string]*transcript
	occupied  map[string]net.Listener
	trees     map[string]string
	mail      *mailServer
}

type stageKey struct{}

// setUp gives a script folders of its own wherever the program might write.
func setUp(env *testscript.Env, free *ports) error {
	for name, dir := range map[string]string{"HOME": "home", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp"} {
		path := filepath.Join(env.WorkDir, dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		env.Setenv(name, path)
	}
	if env.Getenv("GORACE") == "" {
		env.Setenv("GORACE", "atexit_sleep_ms=0") // else every process sleeps a second at its end
	}
	repository, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	env.Setenv("REPOSITORY", repository)
	s := &stage{
		t: env.T().(testing.TB), free: free,
		processes: make(map[string]*process), logs: make(map[string]*transcript),
		occupied: make(map[string]net.Listener), trees: make(map[string]string),
	}
	env.Values[stageKey{}] = s
	env.Defer(s.strike)
	return nil
}

// strike ends what a script left running, which only one that failed may do.
func (s *stage) strike() {
	for name, p := range s.processes {
		if p.hasEnded() {
			continue
		}
		p.kill()
		s.Logf("[%s was still running]\n%s%s", name, p.stdout, p.stderr)
		if !s.t.Failed() {
			s.t.Errorf("the script did not end %s", name)
		}
	}
	for _, l := range s.occupied {
		_ = l.Close()
	}
	if s.mail != nil {
		if err := s.mail.stop(); err != nil {
			s.t.Errorf("mail server: %v", err)
		}
	}
}

func (s *stage) start(args []string) {
	name := args[0]
	if old := s.processes[name]; old != nil && !old.hasEnded() {
		s.Fatalf("%s is running", name)
	}
	var env []string
	for _, key := range []string{"PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR", "GORACE", "GOCOVERDIR"} {
		if value := s.Getenv(key); value != "" {
			env = append(env, key+"="+value)
		}
	}
	p, err := startProcess(s.MkAbs("."), name, env, args[1], args[2:]...)
	s.Check(err)
	s.processes[name] = p
	s.logs[name+".out"], s.logs[name+".err"] = p.stdout, p.stderr
}

func (s *stage) waitFor(args []string) {
	log := s.logs[args[0]]
	if log == nil {
		s.Fatalf("nobody writes %s", args[0])
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	s.Check(err)
	var over <-chan struct{}
	name, _, _ := strings.Cut(args[0], ".")
	if p := s.processes[name]; p != nil {
		over = p.ended
	}
	groups, err := log.await(pattern, 1, over)
	if err != nil {
		s.Fatalf("%s: %v\n%s", args[0], err, log)
	}
	s.keep(groups[1:], args[2:])
}

func (s *stage) extract(args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	s.Check(err)
	groups := pattern.FindStringSubmatch(s.ReadFile(args[0]))
	if groups == nil {
		s.Fatalf("no match for %q in %s", pattern, args[0])
	}
	s.keep(groups[1:], args[2:])
}

// keep puts what a pattern's groups matched into variables.
func (s *stage) keep(groups, variables []string) {
	if len(variables) > len(groups) {
		s.Fatalf("the pattern has %d groups", len(groups))
	}
	for i, variable := range variables {
		s.Setenv(variable, groups[i])
	}
}

func (s *stage) json(args []string) {
	decoder := json.NewDecoder(strings.NewReader(s.ReadFile(args[0])))
	var object map[string]any
	s.Check(decoder.Decode(&object))
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		s.Fatalf("there is something behind the JSON")
	}
	if len(object) != len(args)-1 {
		s.Fatalf("there are %d keys, not %d", len(object), len(args)-1)
	}
	for _, arg := range args[1:] {
		key, variable, _ := strings.Cut(arg, "=")
		value, present := object[key]
		if !present {
			s.Fatalf("there is no %s", key)
		}
		if variable != "" {
			s.Setenv(variable, fmt.Sprint(value))
		}
	}
}

func (s *stage) process(name string) *process {
	p := s.processes[name]
	if p == nil {
		s.Fatalf("%s was not started", name)
	}
	return p
}

func (s *stage) signal(args []string) {
	number, known := map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "USR2": syscall.SIGUSR2,
	}[args[1]]
	if !known {
		s.Fatalf("unknown signal %s", args[1])
	}
	s.Check(s.process(args[0]).cmd.Process.Signal(number))
}

func (s *stage) end(args []string) {
	p := s.process(args[0])
	code := failure
	if args[1] != "failure" {
		code = s.number(args[1])
	}
	err := p.end(code)
	fmt.Fprint(s.Stdout(), p.stdout)
	fmt.Fprint(s.Stderr(), p.stderr)
	s.Check(err)
}

func (s *stage) number(text string) int {
	n, err := strconv.Atoi(text)
	s.Check(err)
	return n
}

func (s *stage) exits(args []string) {
	want := s.number(args[0])
	err := s.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		s.Fatalf("%v", err)
	}
	if got != want {
		s.Fatalf("exit code %d, not %d", got, want)
	}
	s.Check(checkRaces(args[1], s.ReadFile("stderr")))
}

func (s *stage) paste(args []string) {
	var line string
	for shown := range strings.Lines(s.process(args[0]).stdout.String()) {
		if shown = strings.TrimSpace(shown); line == "" && !strings.Contains(shown, args[1]) {
			continue
		}
		more := strings.HasSuffix(shown, `\`)
		line += strings.TrimSuffix(shown, `\`)
		if !more {
			break
		}
	}
	if line == "" {
		s.Fatalf("%s shows no line with %s", args[0], args[1])
	}
	if len(args) == 3 {
		line = strings.TrimSuffix(line, "ID") + args[2]
	}
	s.Check(s.Exec("sh", "-c", line))
}

func (s *stage) freePorts(args []string) {
	for _, variable := range args {
		port, err := s.free.free()
		s.Check(err)
		s.Setenv(variable, strconv.Itoa(port))
	}
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

func (s *stage) occupy(args []string) {
	l, err := net.Listen("tcp", loopback(args[0]))
	s.Check(err)
	s.occupied[args[0]] = l
}

func (s *stage) release(args []string) {
	l := s.occupied[args[0]]
	if l == nil {
		s.Fatalf("port %s is not occupied", args[0])
	}
	s.Check(l.Close())
	delete(s.occupied, args[0])
}

func (s *stage) closed(args []string) {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(patience); ; <-again.C {
		conn, err := net.DialTimeout("tcp", loopback(args[0]), patience)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return
		case err == nil:
			_ = conn.Close()
		case !errors.Is(err, syscall.ECONNRESET): // by a listener that was just going
			s.Check(err)
		}
		if time.Now().After(late) {
			s.Fatalf("port %s is still open", args[0])
		}
	}
}

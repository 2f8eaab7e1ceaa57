package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// An Option changes what Load and Parse accept.
type Option func(*reader)

// AllowPortZero lets listeners have port 0, a free port of the system's
// choice. It is for tests and the demo; a file with it would be of no use to
// anybody else.
func AllowPortZero(r *reader) { r.allowPort0 = true }

// WithoutSecrets takes files of secrets that are not there, and their
// certificates, for granted. It is for commands that judge a file on its way:
// out of version control, or on a machine that does not run it.
func WithoutSecrets(r *reader) { r.withoutSecrets = true }

// Load reads the file at path. Relative paths in it are relative to its
// folder. The Config is nil if there are errors; there may be warnings beside
// a good one.
func Load(path string, options ...Option) (*Config, Diagnostics) {
	c, diagnostics := Examine(path, options...)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	return c, diagnostics
}

// Examine is Load for those who judge further and run nothing: it gives what
// could be read of a file with errors, too, and nil only where that is nothing.
func Examine(path string, options ...Option) (*Config, Diagnostics) {
	fail := func(message string) (*Config, Diagnostics) {
		return nil, Diagnostics{{File: path, Line: 1, Column: 1, Severity: Error, Message: message}}
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(loadMessage(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fail(loadMessage(err))
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return fail("the folder of the file cannot be found")
	}
	return examine(path, data, base, options...)
}

func loadMessage(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read the file"
	}
	return "the file cannot be read"
}

// Parse reads a configuration that is in memory. Diagnostics name it as file;
// relative paths in it are relative to baseDir. The Config is nil if there are
// errors; there may be warnings beside a good one.
func Parse(file string, data []byte, baseDir string, options ...Option) (*Config, Diagnostics) {
	c, diagnostics := examine(file, data, baseDir, options...)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	return c, diagnostics
}

func examine(file string, data []byte, baseDir string, options ...Option) (*Config, Diagnostics) {
	r := &reader{file: file, base: baseDir, lines: strings.Split(string(data), "\n"), places: make(map[string]place)}
	for _, option := range options {
		option(r)
	}
	top := r.readTree(data)
	if top == nil {
		return nil, r.diagnostics.Sorted()
	}
	c := &Config{file: file, places: r.places, lines: r.lines}
	r.decodeSection(top, reflect.ValueOf(c).Elem(), key{})
	r.checkFiles()
	r.check(c)
	r.checkGaps()
	return c, r.diagnostics.Sorted()
}

// At makes a diagnostic about a key of the file, such as
// gateway.policy.background_services, for those who judge a good
// configuration further. It points to the key's value, to the section that
// lacks the key, or else to the first line. The first item of a list that is
// written as its only item stands where the list does.
func (c *Config) At(key string, severity Severity, message string) Diagnostic {
	p, known := c.places[key]
	if list, first := strings.CutSuffix(key, "[0]"); first && !known {
		key, p = list, c.places[list]
	}
	return Diagnostic{
		File: c.file, Line: max(p.line, 1), Column: max(p.column, 1), Key: key, Severity: severity, Message: message,
	}
}

// Sound reports whether the key, and all below it, were understood: a setting
// that was refused has its zero value, and would be judged as one that is not
// there. What is wrong within a text, such as a list of services, or with settings
// beside each other, is another matter.
func (c *Config) Sound(key string) bool {
	for path, p := range c.places {
		below, is := strings.CutPrefix(path, key)
		if p.bad && is && (below == "" || below[0] == '.' || below[0] == '[') {
			return false
		}
	}
	return true
}

// AtColumn is At for a place within a text, a column that counts its characters
// from 1. It points there if the text stands on one line as it is.
func (c *Config) AtColumn(key, text string, column int, severity Severity, message string) Diagnostic {
	d := c.At(key, severity, message)
	if start, ok := startOf(c.lines, c.places[key], text); ok && column > 0 {
		d.Column = start + column - 1
	}
	return d
}

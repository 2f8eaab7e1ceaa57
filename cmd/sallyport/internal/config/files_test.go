package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestKeyFiles(t *testing.T) {
	one, two := newKey(), newKey()
	short := one[:40]
	dull := strings.Repeat("A", 43) + "="
	for _, tt := range []struct{ content, want string }{
		{one, ""},
		{one + "\n", ""},
		{one + "\r\n" + two + "\r\n", ""},
		{strings.TrimRight(one, "=") + "\n", ""},
		{strings.NewReplacer("+", "-", "/", "_").Replace(one) + "\n", ""},
		{"", " is empty"},
		{"\n", ": the key file is empty"},
		{short + "\n", ": line 1: the key has 30 bytes; it needs 32 random ones (head -c 32 /dev/urandom | base64)"},
		{one + "\n" + short, ": line 2: the key has 30 bytes; it needs 32 random ones (head -c 32 /dev/urandom | base64)"},
		{"hunter2!\n", ": line 1: not base64"},
		{" " + one + "\n", ": line 1: not base64"},
		{dull, ": line 1: the key is not random (head -c 32 /dev/urandom | base64)"},
		{one + "\n" + one + "\n", ": both lines are the same key"},
		{one + "\n" + two + "\n" + newKey() + "\n", ": a key file has one or two lines, not 3"},
		{one + "\n\n", ": line 2: the key has 0 bytes; it needs 32 random ones (head -c 32 /dev/urandom | base64)"},
		{strings.Repeat(one, 30), ": line 1: a key has at most 1024 characters"},
		{strings.Repeat("x", maxSecret+1), " is larger than 64 KiB"},
	} {
		dir := t.TempDir()
		write(t, dir, "enrolment.key", tt.content, 0o600)
		var want []string
		if tt.want != "" {
			want = []string{"f:4:41: sta.clients[0].key_file: DIR/enrolment.key" + tt.want}
		}
		got := said(minimal, dir)
		if !slices.Equal(got, want) {
			t.Errorf("%.20q…: got %q, want %q", tt.content, got, want)
		}
		for _, secret := range []string{one[:8], two[:8], "hunter2"} {
			if strings.Contains(strings.Join(got, ""), secret) {
				t.Errorf("content of the file is shown: %q", got)
			}
		}
	}
}

func TestSharedKey(t *testing.T) {
	dir := t.TempDir()
	key := newKey()
	write(t, dir, "enrolment.key", key+"\n", 0o600)
	write(t, dir, "other.key", newKey()+"\n"+key+"\n", 0o600)
	text := edit(t, "clients: [", "clients: [{name: other, key_file: other.key}, ")
	want := []string{"f:4:77: sta.clients[1].key_file: holds a key of the client other; every client needs a key of its own"}
	if got := said(text, dir); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Each kind of file that a configuration names is judged by its own rule.
func TestFileRules(t *testing.T) {
	text := edit(t, "certs: {mode: dev}", "certs: {files: [{cert: cert.pem, key: key.pem}]}")
	exposed := func(file, mode string) string {
		return "DIR/" + file + " is open to others (mode " + mode + "); run  chmod 600 DIR/" + file + "  and replace what is in it, if it may be known"
	}
	for name, tt := range map[string]struct {
		change func(dir string)
		want   string
	}{
		"all well":           {func(string) {}, ""},
		"no certificate":     {func(dir string) { os.Remove(dir + "/cert.pem") }, "f:10:24: certs.files[0].cert: no such file: DIR/cert.pem"},
		"empty certificate":  {func(dir string) { write(t, dir, "cert.pem", "", 0o644) }, "f:10:24: certs.files[0].cert: DIR/cert.pem is empty"},
		"a public cert":      {func(dir string) { os.Chmod(dir+"/cert.pem", 0o666) }, ""},
		"no key":             {func(dir string) { os.Remove(dir + "/key.pem") }, "f:10:39: certs.files[0].key: no such file: DIR/key.pem"},
		"group may read":     {func(dir string) { os.Chmod(dir+"/key.pem", 0o640) }, "f:10:39: certs.files[0].key: " + exposed("key.pem", "0640")},
		"others may write":   {func(dir string) { os.Chmod(dir+"/enrolment.key", 0o602) }, "f:4:41: sta.clients[0].key_file: " + exposed("enrolment.key", "0602")},
		"a made secret":      {func(dir string) { os.Mkdir(dir+"/data", 0o700); write(t, dir, "data/sta.key", "x", 0o644) }, "f:1:1: sta.signing_key: " + exposed("data/sta.key", "0644")},
		"a made secret, too": {func(dir string) { os.Mkdir(dir+"/data", 0o700); write(t, dir, "data/sta.key", "x", 0o600) }, ""},
		"a folder":           {func(dir string) { os.Remove(dir + "/key.pem"); os.Mkdir(dir+"/key.pem", 0o700) }, "f:10:39: certs.files[0].key: DIR/key.pem is no regular file"},
		"a pipe":             {func(dir string) { os.Remove(dir + "/key.pem"); syscall.Mkfifo(dir+"/key.pem", 0o600) }, "f:10:39: certs.files[0].key: DIR/key.pem is no regular file"},
		"a link":             {func(dir string) { os.Rename(dir+"/key.pem", dir+"/real"); os.Symlink("real", dir+"/key.pem") }, ""},
		"a file as a folder": {func(dir string) { write(t, dir, "data", "x", 0o600) }, "f:1:1: sta.signing_key: DIR/data/sta.key cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			write(t, dir, "cert.pem", "certificate", 0o644)
			write(t, dir, "key.pem", "key", 0o600)
			tt.change(dir)
			if got := strings.Join(said(text, dir), "\n"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A secret where its file's name belongs must not end up in a log.
func TestSecretInPlaceOfAFile(t *testing.T) {
	for _, secret := range []string{newKey(), newKey()[:43] + strings.Repeat("AbC1", 400) + "A", "0123456789ABCDEFGHIJKLMNOPQRSTUV"} {
		got := said(edit(t, "key_file: enrolment.key", "key_file: "+secret), folder(t))
		if len(got) != 1 || !strings.Contains(got[0], "[secret]") || strings.Contains(got[0], secret) {
			t.Errorf("%q", got)
		}
	}
}

func TestReadingWritesNothing(t *testing.T) {
	dir := folder(t)
	good(t, minimal, dir)
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		found = append(found, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil || !slices.Equal(found, []string{"", "/enrolment.key"}) {
		t.Errorf("%q, %v", found, err)
	}
}

// A file that is judged where it does not run lacks its secrets, and what else it
// lacks is a mistake all the same.
func TestWithoutSecrets(t *testing.T) {
	text := edit(t, "certs: {mode: dev}", "certs: {mode: files, files: [{cert: gateway.pem, key: gateway.key}]}")
	dir := t.TempDir()
	if got := said(text, dir, WithoutSecrets); got != nil {
		t.Errorf("got %q", got)
	}
	if got := said(text, dir); len(got) != 3 {
		t.Errorf("without the option: got %q", got)
	}
	text = edit(t, "authorities: [local]", "authorities: [local]\n  facts: facts.json")
	want := []string{"f:9:10: gateway.facts: no such file: DIR/facts.json"}
	if got := said(text, dir, WithoutSecrets); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	write(t, dir, "enrolment.key", newKey(), 0o644)
	if got := said(minimal, dir, WithoutSecrets); len(got) != 1 || !strings.Contains(got[0], "is open to others") {
		t.Errorf("a secret that lies open: got %q", got)
	}
}

package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const docs = "../../../../docs/"

// row is what docs/configuration.md says of one key.
type row struct{ value, standard, meaning string }

func manual(t *testing.T) (text string, rows map[string]row) {
	t.Helper()
	data, err := os.ReadFile(docs + "configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows = make(map[string]row)
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		key := strings.Trim(cells[1], " `")
		if _, twice := rows[key]; twice {
			t.Errorf("%s has two rows", key)
		}
		rows[key] = row{cells[2], strings.TrimSpace(cells[3]), cells[4]}
	}
	return string(data), rows
}

// documented lists the keys that the manual must explain: all but those of
// named policies that the policy explains.
func documented() []schemaKey {
	var keys []schemaKey
	for _, k := range schema() {
		rest, named := strings.CutPrefix(k.form, "gateway.policies.NAME.")
		if !named || strings.HasPrefix(rest, "match") {
			keys = append(keys, k)
		}
	}
	return keys
}

func TestManualExplainsEveryKey(t *testing.T) {
	_, rows := manual(t)
	for _, k := range documented() {
		r, ok := rows[k.form]
		if !ok {
			t.Errorf("%s is not in docs/configuration.md", k.form)
			continue
		}
		if standard, ok := k.tag.Lookup("default"); ok && r.standard != "`"+standard+"`" {
			t.Errorf("%s: the manual's default is %s, the schema's %s", k.form, r.standard, standard)
		}
		for _, word := range strings.Fields(k.tag.Get("oneof")) {
			if !strings.Contains(r.value, "`"+word+"`") {
				t.Errorf("%s: the manual lacks the value %s", k.form, word)
			}
		}
		if lowest, highest, ok := bounds(k.tag); ok && !strings.Contains(r.value, "`"+lowest+"` to `"+highest+"`") {
			t.Errorf("%s: the manual lacks the range %s to %s", k.form, lowest, highest)
		}
		if is := k.tag.Get("is"); (is == "secret" || is == "made") && !strings.Contains(r.value, "secret file") {
			t.Errorf("%s: the manual does not call it a secret file", k.form)
		}
		delete(rows, k.form)
	}
	for key := range rows {
		t.Errorf("docs/configuration.md explains %s, which is no key", key)
	}
}

func TestManualMarksWhatIsNotBuilt(t *testing.T) {
	_, rows := manual(t)
	marks := map[Severity]string{Error: "Not built yet (error)", Warning: "Not built yet (warning)"}
	marked := make(map[string]bool)
	for _, g := range gaps {
		key := strings.TrimSuffix(g.key, "[]") // a list is explained where it stands
		marked[key] = true
		if !strings.Contains(rows[key].meaning, marks[g.severity]) {
			t.Errorf("%s: the manual does not say %s", g.key, marks[g.severity])
		}
	}
	for key, r := range rows {
		if !marked[key] && strings.Contains(r.meaning, "Not built yet") {
			t.Errorf("%s is built, but the manual says that it is not", key)
		}
	}
}

// TestManualIsTrue reads the manual's own examples, and makes its mistakes.
func TestManualIsTrue(t *testing.T) {
	text, _ := manual(t)
	dir := folder(t)
	write(t, dir, "gateway.pem", "certificate", 0o644)
	write(t, dir, "gateway-key.pem", "key", 0o600)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 5 {
		t.Fatalf("%d examples", len(blocks))
	}
	good(t, blocks[0][1], dir)
	for _, block := range blocks[1:] {
		for _, line := range said(block[1], dir) {
			if !strings.Contains(line, "is required") && !strings.Contains(line, "there is nothing to do") &&
				!strings.Contains(line, "has no sta section") {
				t.Errorf("%s\n%s", block[1], line)
			}
		}
	}
	mistakes := said(`sta: {ticket_lifetme: 1h}
gateway: {policy: {background_services: "mail.example.com:443, ews.example.com:443"}}
`, dir)
	shown := 0
	for line := range strings.Lines(text) {
		if _, message, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(line, "sallyport.yaml:") {
			shown++
			if !slices.ContainsFunc(mistakes, func(m string) bool { return strings.HasSuffix(m, message) }) {
				t.Errorf("the manual shows a message that is none: %s", message)
			}
		}
	}
	if shown != 2 {
		t.Errorf("the manual shows %d messages", shown)
	}
}

// TestExample follows the instructions in the example and loads it.
func TestExample(t *testing.T) {
	data, err := os.ReadFile(docs + "examples/sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const instruction = "head -c32 /dev/urandom | base64 > enrolment.key && chmod 600 enrolment.key"
	if !strings.Contains(string(data), instruction) {
		t.Errorf("the example does not say how to make the key: %s", instruction)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "sallyport.yaml")
	write(t, dir, "sallyport.yaml", string(data), 0o644)
	_, diagnostics := Load(path)
	want := ": sta.clients[0].key_file: no such file: " + filepath.Join(dir, "enrolment.key") + "\n"
	if got := diagnostics.String(); !strings.HasSuffix(got, want) || len(diagnostics) != 1 {
		t.Errorf("without the key: %s", got)
	}
	write(t, dir, "enrolment.key", newKey()+"\n", 0o600)
	if c, diagnostics := Load(path); c == nil || len(diagnostics) != 0 {
		t.Errorf("with the key: %s", diagnostics)
	}
}

// TestNodesExamples loads the files for several nodes, with what docs/nodes.md
// makes for them; without the pin of the root a gateway is refused.
func TestNodesExamples(t *testing.T) {
	files, err := filepath.Glob(docs + "examples/nodes/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v", files, err)
	}
	dir := t.TempDir()
	for _, folder := range []string{"keys", "tls"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, client := range []string{"enrolment", "operators", "gateway-1", "gateway-2"} {
		write(t, dir, "keys/"+client+".key", newKey()+"\n", 0o600)
	}
	for _, name := range []string{"sta", "gateway"} {
		write(t, dir, "tls/"+name+".pem", "certificate", 0o644)
		write(t, dir, "tls/"+name+"-key.pem", "key", 0o600)
	}
	write(t, dir, "redis.password", "password\n", 0o600)
	pin := "sha256:" + strings.Repeat("A", 43)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		before, after, gateway := strings.Cut(string(data), "pin: PIN")
		if gateway != strings.HasPrefix(name, "gateway-") {
			t.Errorf("%s: a place for the pin: %t", name, gateway)
		}
		if !gateway {
			good(t, string(data), dir)
			continue
		}
		if lines := said(string(data), dir); len(lines) != 1 || !strings.Contains(lines[0], "gateway.authorities[0].pin: ") {
			t.Errorf("%s without the pin: %q", name, lines)
		}
		good(t, before+"pin: "+pin+after, dir)
	}
}

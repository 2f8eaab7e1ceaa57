package sta_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ticket"
)

func keyFiles(t *testing.T) sta.KeyFiles {
	dir := t.TempDir()
	return sta.KeyFiles{Root: filepath.Join(dir, "away", "root.key"), Signing: filepath.Join(dir, "data", "sta.key")}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestInit(t *testing.T) {
	store, files := sta.NewMemoryStore(), keyFiles(t)
	_, err := sta.OpenKeys(t.Context(), store, authorityID, files.Signing)
	if !errors.Is(err, sta.ErrNotInitialised) {
		t.Errorf("before: %v", err)
	}
	pin, err := sta.Init(t.Context(), store, authorityID, files, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	root, err := sta.ReadPrivateKey(files.Root)
	if err != nil || ticket.Pin(root.Public().(ed25519.PublicKey)) != pin {
		t.Errorf("the root does not fit its pin (%v)", err)
	}
	for _, path := range []string{files.Root, files.Signing, sta.PinPath(files.Signing)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", path, info, err)
		}
	}
	keys, err := sta.OpenKeys(t.Context(), store, authorityID, files.Signing)
	if err != nil || !keys.Set.Names(keys.Signer.KeyID()) || keys.Set.Version != 1 || keys.Pin != pin {
		t.Errorf("after: %+v, %v", keys, err)
	}

	before, _ := os.ReadFile(files.Signing)
	stored, _ := store.KeySet(t.Context())
	for _, again := range []sta.KeyFiles{files, keyFiles(t)} {
		if _, err := sta.Init(t.Context(), store, authorityID, again, time.Now()); !errors.Is(err, sta.ErrInitialised) {
			t.Errorf("again: %v, want ErrInitialised", err)
		}
		if again != files && (exists(again.Root) || exists(again.Signing)) {
			t.Error("the second init left files")
		}
	}
	after, _ := os.ReadFile(files.Signing)
	if now, _ := store.KeySet(t.Context()); string(before) != string(after) || now != stored {
		t.Error("the second init changed something")
	}
	if _, err := sta.OpenKeys(t.Context(), store, "STA02", files.Signing); err == nil {
		t.Error("another authority's store was accepted")
	}
}

// crashedStore loses power where the set would be written.
type crashedStore struct {
	sta.Store
	err error
}

func (c crashedStore) PutKeySet(context.Context, sta.SignedKeySet) error { return c.err }

func TestInitThatFailsLeavesNothing(t *testing.T) {
	store, files := sta.NewMemoryStore(), keyFiles(t)
	_, err := sta.Init(t.Context(), crashedStore{store, errDiskFull}, authorityID, files, time.Now())
	pin := sta.PinPath(files.Signing)
	if !errors.Is(err, errDiskFull) || exists(files.Root) || exists(files.Signing) || exists(pin) {
		t.Errorf("%v; files left: %v %v %v", err, exists(files.Root), exists(files.Signing), exists(pin))
	}
	if _, err := sta.Init(t.Context(), store, authorityID, files, time.Now()); err != nil {
		t.Errorf("the next try: %v", err)
	}
}

func TestInitThatWasCutShort(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, written := range map[string]func(sta.KeyFiles) []string{
		"after the root": func(f sta.KeyFiles) []string { return []string{f.Root} },
		"before the pin": func(f sta.KeyFiles) []string { return []string{f.Root, f.Signing} },
		"before the set": func(f sta.KeyFiles) []string { return []string{f.Root, f.Signing, sta.PinPath(f.Signing)} },
		"only the pin":   func(f sta.KeyFiles) []string { return []string{sta.PinPath(f.Signing)} },
	} {
		t.Run(name, func(t *testing.T) {
			store, files := sta.NewMemoryStore(), keyFiles(t)
			for _, path := range written(files) {
				if err := sta.WritePrivateKey(path, key); err != nil {
					t.Fatal(err)
				}
			}
			_, err := sta.Init(t.Context(), store, authorityID, files, time.Now())
			if !errors.Is(err, sta.ErrHalfInitialised) || !strings.Contains(err.Error(), written(files)[0]) {
				t.Errorf("%v; want ErrHalfInitialised that names the file", err)
			}
			if name != "after the root" {
				if _, err := sta.OpenKeys(t.Context(), store, authorityID, files.Signing); !errors.Is(err, sta.ErrHalfInitialised) {
					t.Errorf("OpenKeys: %v; want ErrHalfInitialised", err)
				}
			}
			for _, path := range written(files) {
				if err := os.Remove(path); err != nil {
					t.Errorf("it was touched: %v", err)
				}
			}
			if _, err := sta.Init(t.Context(), store, authorityID, files, time.Now()); err != nil {
				t.Errorf("after removing: %v", err)
			}
		})
	}
}

// A set counts by the pin beside the signing key, and by nothing in the store.
func TestPinFile(t *testing.T) {
	store, files := sta.NewMemoryStore(), keyFiles(t)
	path := sta.PinPath(files.Signing)
	pin, err := sta.Init(t.Context(), store, authorityID, files, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	open := func() error {
		_, err := sta.OpenKeys(t.Context(), store, authorityID, files.Signing)
		return err
	}
	put := func(content string, mode os.FileMode) {
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	other := ticket.Pin(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	for content, good := range map[string]bool{
		pin: true, pin + "\n": true, pin + "\r\n": true,
		"": false, "\n": false, pin + "\n\n": false, pin + "\n" + pin + "\n": false, " " + pin: false, pin[:40]: false,
		strings.ToUpper(pin): false, other: false, strings.Repeat("x", 1<<16): false,
	} {
		put(content, 0o600)
		if err := open(); (err == nil) != good || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("pin file %.60q: %v", content, err)
		}
	}
	for _, mode := range []os.FileMode{0o620, 0o602, 0o644} {
		put(pin, mode)
		if err := open(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v; want what to type", mode, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, sta.ErrNoPin) || !strings.Contains(err.Error(), path) {
		t.Errorf("without the file: %v; want ErrNoPin that names it", err)
	}
	if _, err := sta.Init(t.Context(), store, authorityID, files, time.Now()); !errors.Is(err, sta.ErrInitialised) || exists(path) {
		t.Errorf("Init: %v; it must not make up for a pin that is gone", err)
	}
}

func TestInitWantsAFileForEach(t *testing.T) {
	for _, name := range []string{"sta.key", "sta.key.pin"} {
		store, files := sta.NewMemoryStore(), keyFiles(t)
		files.Root = filepath.Join(filepath.Dir(files.Signing), name)
		if _, err := sta.Init(t.Context(), store, authorityID, files, time.Now()); err == nil || exists(files.Root) {
			t.Errorf("a root key at %s: %v", name, err)
		}
	}
}

func TestOpenKeysRefusesAKeyThatTheSetDoesNotName(t *testing.T) {
	store, files := sta.NewMemoryStore(), keyFiles(t)
	if _, err := sta.Init(t.Context(), store, authorityID, files, time.Now()); err != nil {
		t.Fatal(err)
	}
	// The root is a good key, and not one that signs tickets.
	if _, err := sta.OpenKeys(t.Context(), store, authorityID, files.Root); err == nil {
		t.Error("a key that the set does not name was accepted")
	}
}

func TestPrivateKeyFiles(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "k.pem")
	if err := sta.WritePrivateKey(path, key); err != nil {
		t.Fatal(err)
	}
	if err := sta.WritePrivateKey(path, key); !errors.Is(err, os.ErrExist) {
		t.Errorf("overwriting: %v", err)
	}
	if got, err := sta.ReadPrivateKey(path); err != nil || !got.Equal(key) {
		t.Errorf("read back: %v", err)
	}
	data, _ := os.ReadFile(path)
	body := strings.Split(string(data), "\n")[1]
	for name, content := range map[string]string{
		"empty": "", "torn": string(data[:60]), "two": string(data) + string(data),
		"other type": strings.ReplaceAll(string(data), "PRIVATE KEY", "RSA PRIVATE KEY"),
		"damaged":    strings.Replace(string(data), body, body[:20]+"AAAA"+body[24:], 1),
	} {
		bad := filepath.Join(t.TempDir(), "bad.pem")
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := sta.ReadPrivateKey(bad)
		if err == nil && got.Equal(key) {
			t.Errorf("%s: gave the key", name)
		}
		if name != "damaged" && err == nil {
			t.Errorf("%s: was accepted", name)
		}
		if err != nil && strings.Contains(err.Error(), body[8:24]) {
			t.Errorf("%s: the error shows content: %v", name, err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sta.ReadPrivateKey(path); err == nil {
		t.Error("a world-readable key was accepted")
	}
	if _, err := sta.ReadPrivateKey(filepath.Dir(path)); err == nil {
		t.Error("a folder was accepted")
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	good := sta.Config{
		ID: authorityID, Audience: []string{gateway}, Signer: w.signer, Keys: w.keys, Store: w.store, Audit: w.audit, Now: w.clock,
	}
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := ticket.NewSigner(authorityID, foreign)
	for name, change := range map[string]func(*sta.Config){
		"bad id":              func(c *sta.Config) { c.ID = "sta01" },
		"another id":          func(c *sta.Config) { c.ID = "STA02" },
		"no audience":         func(c *sta.Config) { c.Audience = nil },
		"odd audience":        func(c *sta.Config) { c.Audience = []string{"a\nb"} },
		"no store":            func(c *sta.Config) { c.Store = nil },
		"no audit":            func(c *sta.Config) { c.Audit = nil },
		"a stranger's signer": func(c *sta.Config) { c.Signer = stranger },
		"short tickets":       func(c *sta.Config) { c.Lifetime = time.Millisecond },
		"negative wait":       func(c *sta.Config) { c.CutWait = -1 },
		"kept too short":      func(c *sta.Config) { c.Keep = ticket.MaxLinger },
		"kept for no time":    func(c *sta.Config) { c.Keep = -1 },
	} {
		config := good
		change(&config)
		if _, err := sta.New(config); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := sta.New(good); err != nil {
		t.Error(err)
	}
}

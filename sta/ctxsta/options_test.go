package ctxsta_test

import (
	"testing"
	"time"

	"github.com/sallyport/sallyport/sta"
	"github.com/sallyport/sallyport/sta/ctxsta"
)

func TestNewHandlerRefuses(t *testing.T) {
	d := openDoor(t)
	clients, err := sta.NewClients(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ctxsta.Options){
		"no ID":           func(o *ctxsta.Options) { o.AuthorityID = "" },
		"markup for ID":   func(o *ctxsta.Options) { o.AuthorityID = "STA<" },
		"no verifier":     func(o *ctxsta.Options) { o.Verify = nil },
		"odd header":      func(o *ctxsta.Options) { o.KeyHeader = "X: Y" },
		"no life":         func(o *ctxsta.Options) { o.NonRefreshableLifetime = time.Millisecond },
		"negative bounds": func(o *ctxsta.Options) { o.MaxLifetime = -1 },
	} {
		options := ctxsta.Options{AuthorityID: "STA01", Verify: d.verifier.Verify}
		if _, err := ctxsta.NewHandler(d.authority, clients, options); err != nil {
			t.Fatal(err)
		}
		change(&options)
		if _, err := ctxsta.NewHandler(d.authority, clients, options); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

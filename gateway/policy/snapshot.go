package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
)

// content hashes what a policy is made of: equal content, equal ID, however it
// was spelt. Every string goes in with its length and every list with its
// number of entries, so that none can flow into the next.
type content struct{ hash.Hash }

func newContent() content { return content{sha256.New()} }

func (c content) put(texts ...string) {
	for _, text := range texts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(text)))
		c.Write(n[:])
		c.Write([]byte(text))
	}
}

// putAll takes the entries of a list, in order.
func putAll[T fmt.Stringer](c content, list []T) {
	c.put(strconv.Itoa(len(list)))
	for _, entry := range list {
		c.put(entry.String())
	}
}

func (c content) putWords(words []string) {
	c.put(strconv.Itoa(len(words)))
	c.put(words...)
}

// id is the ID: 48 bits are enough to tell the versions of one file apart, and
// nothing is proved by them.
func (c content) id() string { return hex.EncodeToString(c.Sum(nil)[:6]) }

func (c *checked) snapshot(name string) string {
	h := newContent()
	h.put(name, c.access)
	putAll(h, c.exchange)
	putAll(h, c.services)
	putAll(h, c.webDomains)
	h.put(c.ews.String(), c.region, c.tunnel, c.dns)
	c.console.putInto(h)
	return h.id()
}

func (c *checkedConsole) putInto(h content) {
	h.put(c.Mailboxes)
	h.putWords(c.platforms)
	putAll(h, c.exchange)
	putAll(h, c.adfs)
	putAll(h, c.ldap)
	h.put(fmt.Sprint(c.RichPush, c.ModernAuthentication, c.DerivedCredentials, c.Intune))
	h.put(c.gateway.String())
}

package redisstore

import "github.com/sallyport/sallyport/sta/ticket"

// prefix begins every key of an authority. What is in braces is all that a
// Cluster looks at to choose the node, so that all keys are on one.
func prefix(authority string) string { return "sallyport:{" + authority + "}:" }

// keys gives the names that doc.go draws; its value is their prefix.
type keys string

func (k keys) of(name string) string { return string(k) + name }

func (k keys) ticket(hash ticket.Hash) string { return k.of("t:" + hash.String()) }
func (k keys) id(id string) string            { return k.of("i:" + id) }
func (k keys) user(user string) string        { return k.of("u:" + user) }
func (k keys) device(device string) string    { return k.of("d:" + device) }
func (k keys) tickets() string                { return k.of("tickets") }
func (k keys) expiry() string                 { return k.of("expiry") }
func (k keys) sequence() string               { return k.of("sequence") }

func (k keys) entries(writer string) string { return k.of("e:" + writer) }
func (k keys) writers() string              { return k.of("writers") }

func (k keys) notice(name string) string { return k.of("n:" + name) }
func (k keys) notices() string           { return k.of("notices") }
func (k keys) keySet() string            { return k.of("keyset") }

// channel is where changes are told.
func (k keys) channel() string { return k.of("changed") }

// Package storetest is the suite that every store of the authority must pass.
// What [sta.Store] promises in words, it asks for in tests: what is written once
// is there as a whole, also after the process is gone; serials have no gaps,
// however many ask for them; a page never shows a ticket twice, whatever is
// written meanwhile.
package storetest

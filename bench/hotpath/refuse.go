package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// errNotWhole is for a run that no later one should be held against.
var errNotWhole = errors.New("-save-baseline wants a whole run, with -rounds as they are or more, and nothing else changed")

// checkSave refuses, before anything is measured, to keep what is shortened or
// partial.
func (p plan) checkSave() error {
	if p.save == "" {
		return nil
	}
	standard, _ := parsePlan(nil, io.Discard) // an error is about the machine, and comes for p as well
	whole := !p.Quick && p.Rounds >= standard.Rounds && p.IdleRounds >= standard.IdleRounds && p.sizes() == standard.sizes()
	for _, part := range parts() {
		whole = whole && slices.Contains(p.Only, part)
	}
	if !whole {
		return errNotWhole
	}
	return nil
}

// tooWide is how far a round's ratio may be from the median of its run for a
// baseline to be worth keeping.
const tooWide = 0.3

// refusals say why a whole run is no baseline. Of spreads those count that a goal
// depends on.
func (r report) refusals() (said []string) {
	if !r.Machine.fingerprint().tells() {
		said = append(said, "this machine cannot be told from others: "+r.Machine.fingerprint().String())
	}
	if r.Machine.Others > much { // and not what there was before the start: that compiled this
		said = append(said, fmt.Sprintf("other processes had %.0f %% of the processors during the run", 100*r.Machine.Others))
	}
	for _, m := range r.Missing {
		if !m.hidden {
			said = append(said, fmt.Sprintf("%s was not measured: %s", m.What, m.Why))
		}
	}
	for _, made := range r.Rows {
		if made.Goal == nil || made.Ratio == nil {
			continue
		}
		if wide, is := made.Ratio.width(); !is || wide > tooWide {
			said = append(said, fmt.Sprintf("%s of %s: ratios to the naive gateway are as far apart as %s", made.Figure, made.Gateway, ratioText(made.Ratio)))
		}
	}
	return said
}

// saveBaseline keeps the run if it is worth it.
func (r report) saveBaseline(folder string) (file string, err error) {
	if said := r.refusals(); len(said) > 0 {
		return "", errors.New("no baseline was saved:\n  " + strings.Join(said, "\n  "))
	}
	b := newBaseline(r)
	return b.file, b.save(folder)
}

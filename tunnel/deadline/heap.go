package deadline

// heap holds the entries, the soonest first. Each cell has up to four children,
// at 4i+1 to 4i+4: a flatter tree than a binary one, whose siblings share a
// cache line. The time stands in the cell, so that comparing visits no Entry.
type heap []cell

type cell struct {
	when  int64
	entry *Entry
}

const (
	arity = 4

	// smallest is the capacity that a heap keeps however few are in it.
	smallest = 64
)

// set puts the entry in, or moves it.
func (h *heap) set(e *Entry, when int64) {
	if e.place == 0 {
		*h = append(*h, cell{when, e})
		e.place = len(*h)
		h.up(e.place - 1)
		return
	}
	i := e.place - 1
	before := (*h)[i].when
	(*h)[i].when = when
	if when < before {
		h.up(i)
	} else {
		h.down(i)
	}
}

// remove takes the entry, which is in, out.
func (h *heap) remove(e *Entry) {
	i, last := e.place-1, len(*h)-1
	moved := (*h)[last]
	(*h)[last] = cell{} // nothing behind the end keeps an owner alive
	*h = (*h)[:last]
	e.place = 0
	if i < last {
		h.put(i, moved)
		h.up(i) // it comes from another branch, where it may have been sooner
		h.down(moved.entry.place - 1)
	}
	h.shrink()
}

// shrink gives memory back after a crowd has gone. It halves at a quarter, so
// that a number going up and down by one does not copy each time.
func (h *heap) shrink() {
	if half := cap(*h) / 2; half >= smallest && len(*h) <= half/2 {
		*h = append(make(heap, 0, half), *h...)
	}
}

func (h heap) put(i int, c cell) {
	h[i] = c
	c.entry.place = i + 1
}

// up moves the cell at i towards the root, past all that are later.
func (h heap) up(i int) {
	c := h[i]
	for i > 0 {
		parent := (i - 1) / arity
		if h[parent].when <= c.when {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	h.put(i, c)
}

// down moves the cell at i away from the root, past all that are sooner.
func (h heap) down(i int) {
	c := h[i]
	for {
		first := i*arity + 1
		if first >= len(h) {
			break
		}
		soonest := first
		for child := first + 1; child < min(first+arity, len(h)); child++ {
			if h[child].when < h[soonest].when {
				soonest = child
			}
		}
		if h[soonest].when >= c.when {
			break
		}
		h.put(i, h[soonest])
		i = soonest
	}
	h.put(i, c)
}

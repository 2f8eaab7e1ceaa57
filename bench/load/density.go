package load

// Objects is how many objects a text of JSON has, whether it is sound or not: every brace
// that opens outside a string. Memory is taken by what a text says and not by how long it
// is, so whoever reads one of somebody else looks at this first.
func Objects(text []byte) (n int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			n++
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

// TooDense is whether a text of JSON has more objects than one in so many bytes, beyond
// a number that any may have: then it is made up.
func TooDense(text []byte, free, bytes int) bool { return Objects(text) > free+len(text)/bytes }

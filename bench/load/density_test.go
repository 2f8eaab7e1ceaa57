package load

import (
	"strings"
	"testing"
)

func TestObjects(t *testing.T) {
	for text, n := range map[string]int{
		"": 0, "{}": 1, `[{},{"a":{}}]`: 3, `{"{{{":"{\"{"}`: 1, `"{`: 0, `"\`: 0, `{{{`: 3, `"\\"{`: 1,
	} {
		if got := Objects([]byte(text)); got != n {
			t.Errorf("%s: %d, want %d", text, got, n)
		}
	}
	if dense := []byte("[" + strings.Repeat("{},", 2000) + "{}]"); !TooDense(dense, 1000, 16) || TooDense(dense, 2000, 16) {
		t.Errorf("%d objects in %d bytes", Objects(dense), len(dense))
	}
}

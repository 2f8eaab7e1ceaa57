package wire

import "testing"

func TestIsData(t *testing.T) {
	for _, data := range []uint16{1, 28, 65, 127, 256, 65280, 65534} {
		if !IsData(data) {
			t.Errorf("type %d is none", data)
		}
	}
	for _, other := range []uint16{0, 41, 128, 252, 255, 65535} {
		if IsData(other) {
			t.Errorf("type %d is one", other)
		}
	}
}

func TestEndsInNumber(t *testing.T) {
	for name, want := range map[string]bool{
		"1": true, "10.0.0.1": true, "a.1": true, "a.0x7f": true, "a.0x": true, "0xdeadbeef": true, "a.": true, "": true,
		"a": false, "1.a": false, "a.1b": false, "a.0xg": false, "a.x7f": false, "0x1.example": false, "a.1-1": false, "a._1": false,
	} {
		if EndsInNumber(name) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}

func TestLower(t *testing.T) {
	for c := range 256 {
		want := byte(c)
		if c >= 'A' && c <= 'Z' {
			want |= 0x20
		}
		if got := Lower(byte(c)); got != want {
			t.Errorf("%#x is %#x, want %#x", c, got, want)
		}
	}
}

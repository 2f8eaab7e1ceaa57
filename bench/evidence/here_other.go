//go:build !linux

package evidence

// here is nowhere that can be looked at.
func here() place { return place{} }

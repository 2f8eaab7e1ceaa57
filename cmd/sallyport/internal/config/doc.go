// Package config reads the one file that tells a process what it is: an
// authority, a gateway or both.
//
// The file is read in five steps, each of which adds to one list of
// diagnostics, so that a person sees every mistake at once and not one a run:
//
//	syntax.go    bytes to a YAML tree     size, encoding, and what YAML may not do here
//	decode.go    the tree to a Config     unknown and doubled keys, kinds, values, defaults
//	files.go     the files it names       there, and secrets readable by their owner only
//	check.go     the Config as a whole    what must be there, and what contradicts what
//	notbuilt.go  what is known            but not built yet
//
// The structs in schema.go are the manual: their tags hold the key, the
// default, the allowed values and the range, and the decoder, the tests and
// docs/configuration.md all follow them. A diagnostic speaks of keys, lines
// and columns, never of Go types.
//
// # Bounds
//
// A file is at most 1 MiB of UTF-8. Anchors, aliases, merge keys, tags and
// further documents are refused: nothing in the file needs them, and without
// them a small file cannot unfold into a large one.
//
// # Secrets
//
// Secrets are named by file and never stand in the configuration, so a Config
// may be printed. Key files are read to see that they hold usable keys; what
// they hold is never shown, and a value that looks like a secret, written
// where its file's name belongs, is shown as [secret].
//
// Reading a configuration writes nothing and makes no look-up.
package config

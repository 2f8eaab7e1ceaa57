package export

import (
	"bytes"
	"fmt"
	"strings"
)

// What a property list is made of, beside string, int and bool. The order of a
// dict is kept, so that the same settings give the same file.
type (
	dict  []pair
	array []any
	pair  struct {
		key   string
		value any
	}
)

const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

// property writes an XML property list.
func property(v any) []byte {
	var b bytes.Buffer
	b.WriteString(plistHead)
	writeProperty(&b, v, 0)
	b.WriteString("</plist>\n")
	return b.Bytes()
}

func writeProperty(b *bytes.Buffer, v any, depth int) {
	indent := strings.Repeat("\t", depth)
	switch v := v.(type) {
	case dict:
		b.WriteString(indent + "<dict>\n")
		for _, p := range v {
			b.WriteString(indent + "\t<key>" + escape(p.key) + "</key>\n")
			writeProperty(b, p.value, depth+1)
		}
		b.WriteString(indent + "</dict>\n")
	case array:
		b.WriteString(indent + "<array>\n")
		for _, item := range v {
			writeProperty(b, item, depth+1)
		}
		b.WriteString(indent + "</array>\n")
	case string:
		b.WriteString(indent + "<string>" + escape(v) + "</string>\n")
	case int:
		fmt.Fprintf(b, "%s<integer>%d</integer>\n", indent, v)
	case bool:
		fmt.Fprintf(b, "%s<%t/>\n", indent, v)
	default:
		panic(fmt.Sprintf("export: a property list holds no %T", v))
	}
}

package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func framed(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestMessagesComeBack(t *testing.T) {
	for _, m := range []message{
		{ID: 1, Call: callHello, Body: json.RawMessage(`{"version":"1"}`)},
		{ID: 7, Event: eventSample, Body: json.RawMessage(`{}`)},
		{ID: 1 << 60, Error: "busy"},
		{ID: 3},
	} {
		frame, err := appendMessage(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readMessage(bytes.NewReader(frame), maxFrame)
		if err != nil || got.ID != m.ID || got.Call != m.Call || got.Event != m.Event || got.Error != m.Error || !bytes.Equal(got.Body, m.Body) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	}
}

func TestFramesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"empty":           {framed(""), errFrame},
		"too long":        {binary.BigEndian.AppendUint32(nil, maxHello+1), errFrame},
		"cut short":       {framed(`{"id":1}`)[:8], io.ErrUnexpectedEOF},
		"head cut short":  {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"nothing":         {nil, io.EOF},
		"no JSON":         {framed("GET / HTTP/1.1"), errFrame},
		"two of them":     {framed(`{"id":1}{"id":2}`), errFrame},
		"unknown field":   {framed(`{"id":1,"shell":"sh"}`), errFrame},
		"dense":           {framed(`{"id":1,"body":[` + strings.Repeat("{},", 5000) + `{}]}`), errFrame},
		"no id":           {framed(`{"call":"hello"}`), errFrame},
		"call and event":  {framed(`{"id":1,"call":"run","event":"second"}`), errFrame},
		"call with error": {framed(`{"id":1,"call":"run","error":"no"}`), errFrame},
	} {
		if m, err := readMessage(bytes.NewReader(c.frame), maxHello); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, m, err, c.want)
		}
	}
}

// A length costs nothing until the bytes come.
func TestFrameMemory(t *testing.T) {
	head := binary.BigEndian.AppendUint32(nil, maxFrame)
	got := testing.AllocsPerRun(10, func() {
		if _, err := readMessage(bytes.NewReader(head), maxFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
	var before bytes.Buffer
	if _, err := io.CopyN(&before, strings.NewReader("x"), maxFrame); before.Cap() > 1<<20 || !errors.Is(err, io.EOF) || got > 20 {
		t.Errorf("%d bytes were set aside for one that came, %v allocations", before.Cap(), got)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(framed(`{"id":1,"call":"hello","body":{"version":"1"}}`))
	f.Add(framed(`{"id":2,"event":"second","body":null}`))
	f.Add(framed(`{"id":2,"error":"busy"}`))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bytes.NewReader(b), maxHello)
		if err != nil {
			return
		}
		frame, err := appendMessage(nil, m)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", m, err)
		}
		again, err := readMessage(bytes.NewReader(frame), 2*maxHello)
		if err != nil || again.ID != m.ID || again.Call != m.Call || again.Event != m.Event || again.Error != m.Error {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

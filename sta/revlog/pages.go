package revlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its file. It falls back to the transaction before the last when
// one of its two meta pages is spoilt, and follows a changed reference wherever
// it leads, even in a circle. For a log that must lose nothing in silence, the
// pages are looked at before bbolt is: each is reached once and is what it says
// it is, its keys are in order and where a search finds them, and none is free
// as well. What stands in them is judged afterwards, by [disk.load].
//
//	page      id 8 │ flags 2 │ count 2 │ overflow 4 │ elements, each 16 │ keys and values
//	branch    pos 4 │ ksize 4 │ id 8                    pos counts from the element
//	leaf      flags 4 │ pos 4 │ ksize 4 │ vsize 4
//	bucket    root 8 │ sequence 8 │ a page, if root is 0
//	meta      magic 4 │ version 4 │ page size 4 │ flags 4 │ root bucket 16 │ free list 8 │ end 8 │ txid 8 │ sum 8
const (
	pageHeader    = 16
	elementSize   = 16
	bucketHeader  = 16
	branchPage    = 0x01
	leafPage      = 0x02
	freePage      = 0x10
	bucketElement = 0x01

	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

var native = binary.NativeEndian

// pages looks at the pages of one file.
type pages struct {
	file io.ReaderAt
	size int64  // of a page
	end  uint64 // the first page that is not in use
	seen map[uint64]bool
}

// checkPages refuses a file that bbolt must not be trusted with. The caller has
// the file locked, and nothing was written to it since.
func checkPages(file *os.File) error {
	m, size, err := newestMeta(file)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	root, free, end := native.Uint64(m[16:]), native.Uint64(m[32:]), native.Uint64(m[40:])
	if most := uint64(info.Size() / size); end > most {
		return fmt.Errorf("cut off: it has %d pages of %d", most, end)
	}
	p := &pages{file, size, end, make(map[uint64]bool)}
	if err := p.walk(root, nil, nil); err != nil {
		return err
	}
	return p.walkFree(free)
}

// newestMeta gives the newer one of two meta pages that must both be good: each
// is far smaller than what a disk writes at once, so neither is ever torn.
func newestMeta(file io.ReaderAt) (newest []byte, size int64, err error) {
	for i := range int64(2) {
		page := make([]byte, pageHeader+metaSize)
		if _, err := file.ReadAt(page, i*size); err != nil {
			return nil, 0, fmt.Errorf("meta page %d: %w", i, err)
		}
		m := page[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:metaSize-8])
		if native.Uint32(m) != metaMagic || native.Uint32(m[4:]) != metaVersion || native.Uint64(m[metaSize-8:]) != sum.Sum64() {
			return nil, 0, fmt.Errorf("meta page %d is spoilt", i)
		}
		size = int64(native.Uint32(m[8:]))
		if newest == nil || native.Uint64(m[48:]) > native.Uint64(newest[48:]) {
			newest = m
		}
	}
	if size < 1<<9 || size > 1<<16 {
		return nil, 0, errors.New("a page size that is none")
	}
	return newest, size, nil
}

// read gives a page with its overflow.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.end {
		return nil, fmt.Errorf("page %d is none", id)
	}
	page := make([]byte, p.size)
	if _, err := p.file.ReadAt(page, int64(id)*p.size); err != nil {
		return nil, err
	}
	overflow := uint64(native.Uint32(page[12:]))
	if native.Uint64(page) != id || id+overflow >= p.end {
		return nil, fmt.Errorf("page %d is another", id)
	}
	for at := id; at <= id+overflow; at++ {
		if p.seen[at] {
			return nil, fmt.Errorf("page %d is used twice", at)
		}
		p.seen[at] = true
	}
	if overflow > 0 {
		page = make([]byte, int64(1+overflow)*p.size)
		if _, err := p.file.ReadAt(page, int64(id)*p.size); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// walk looks at a page and all below it, whose keys are from low up to high.
func (p *pages) walk(id uint64, low, high []byte) error {
	page, err := p.read(id)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) == branchPage {
		return p.walkBranch(id, page, low, high)
	}
	return p.walkLeaf(id, page, low, high)
}

func (p *pages) walkBranch(id uint64, page, low, high []byte) error {
	count := int(native.Uint16(page[10:]))
	if count == 0 {
		return fmt.Errorf("page %d is empty", id)
	}
	keys := make([][]byte, count)
	for i := range count {
		at := pageHeader + i*elementSize
		key, ok := cut(page, at, 0, 4)
		if !ok || !follows(keys[:i], key, low, high) {
			return fmt.Errorf("page %d: a key that is none", id)
		}
		keys[i] = key
	}
	for i := range count {
		from, to := low, high
		if i > 0 {
			from = keys[i]
		}
		if i+1 < count {
			to = keys[i+1]
		}
		if err := p.walk(native.Uint64(page[pageHeader+i*elementSize+8:]), from, to); err != nil {
			return err
		}
	}
	return nil
}

// walkLeaf looks at a leaf page, or at one inside a bucket's value.
func (p *pages) walkLeaf(id uint64, page, low, high []byte) error {
	if native.Uint16(page[8:]) != leafPage {
		return fmt.Errorf("page %d is of no kind", id)
	}
	var keys [][]byte
	for i := range int(native.Uint16(page[10:])) {
		at := pageHeader + i*elementSize
		key, ok := cut(page, at, 4, 8)
		if !ok || !follows(keys, key, low, high) {
			return fmt.Errorf("page %d: a key that is none", id)
		}
		keys = append(keys, key)
		start := at + int(native.Uint32(page[at+4:])) + len(key)
		length := int(native.Uint32(page[at+12:]))
		if length > len(page)-start {
			return fmt.Errorf("page %d: a value that is none", id)
		}
		switch value := page[start : start+length]; native.Uint32(page[at:]) {
		case 0:
		case bucketElement:
			if err := p.walkBucket(id, value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("page %d: an element of no kind", id)
		}
	}
	return nil
}

func (p *pages) walkBucket(id uint64, value []byte) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("page %d: a bucket that is none", id)
	}
	if root := native.Uint64(value); root != 0 {
		return p.walk(root, nil, nil)
	}
	if len(value) < bucketHeader+pageHeader {
		return fmt.Errorf("page %d: a bucket that is none", id)
	}
	return p.walkLeaf(id, value[bucketHeader:], nil, nil)
}

// cut gives the key of the element at a place, whose position and length stand
// so many bytes after its beginning.
func cut(page []byte, at, pos, length int) ([]byte, bool) {
	if at+elementSize > len(page) {
		return nil, false
	}
	start := at + int(native.Uint32(page[at+pos:]))
	n := int(native.Uint32(page[at+length:]))
	if start > len(page) || n > len(page)-start {
		return nil, false
	}
	return page[start : start+n], true
}

// follows tells whether a key comes after those before it, and is within bounds,
// nil being none.
func follows(before [][]byte, key, low, high []byte) bool {
	if n := len(before); n > 0 && bytes.Compare(before[n-1], key) >= 0 {
		return false
	}
	return bytes.Compare(key, low) >= 0 && (high == nil || bytes.Compare(key, high) < 0)
}

// walkFree looks at the list of free pages, after all those in use.
func (p *pages) walkFree(id uint64) error {
	page, err := p.read(id)
	if err != nil {
		return err
	}
	count, list := uint64(native.Uint16(page[10:])), page[pageHeader:]
	if count == 1<<16-1 { // it does not fit: the first of the list is the count
		count, list = native.Uint64(list), list[8:]
	}
	if native.Uint16(page[8:]) != freePage || count > uint64(len(list)/8) {
		return errors.New("the list of free pages is none")
	}
	for i := range count {
		at := native.Uint64(list[8*i:])
		if at < 2 || at >= p.end || p.seen[at] {
			return fmt.Errorf("page %d is not free", at)
		}
		p.seen[at] = true
	}
	return nil
}

package s3

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Body makes the content that stands for a number: the number, the size, then bytes that follow from both. Any
// part of it that is lost, moved or of another object shows.
func Body(number int64, size int) []byte {
	body := make([]byte, size+16)
	binary.LittleEndian.PutUint64(body, uint64(number))
	binary.LittleEndian.PutUint64(body[8:], uint64(size))
	fill(body[16:], uint64(number)*0x9e3779b97f4a7c15+uint64(size))
	return body
}

func fill(to []byte, state uint64) {
	var word [8]byte
	for at := 0; at < len(to); at += 8 {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		binary.LittleEndian.PutUint64(word[:], state)
		copy(to[at:], word[:])
	}
}

// Number is what a body stands for; an error says that it is not whole.
func Number(body []byte) (int64, error) {
	if len(body) < 16 {
		return 0, fmt.Errorf("%w: a body of %d bytes", ErrBroken, len(body))
	}
	number, size := int64(binary.LittleEndian.Uint64(body)), binary.LittleEndian.Uint64(body[8:])
	if size != uint64(len(body)-16) || !bytes.Equal(body, Body(number, len(body)-16)) {
		return 0, fmt.Errorf("%w: the body of %d is damaged (%d bytes, should be %d)", ErrBroken, number, len(body),
			size+16)
	}
	return number, nil
}

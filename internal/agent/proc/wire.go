//go:build unix

package proc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The agent and the init of a test speak over two pipes.
//
// Control, agent to init: the spec (4 bytes of big-endian length, then gob: argv and environment are bytes, which JSON
// would mangle), then one byte for each order. Orders go through a pipe because a signal sent to PID 1 before it has a
// handler is lost. End of file means that the agent is gone.
//
// Status, init to agent: lines. "refused TEXT" (isolation not granted, nothing started), "start-error TEXT",
// "started PID", then "exit N" or "signal N" of the main process. TEXT is quoted as in Go.
const (
	orderInterrupt = 'I'
	orderKill      = 'K'

	specMost = 8 << 20 // Linux itself takes no more than a quarter of the stack for argv and environment, 2 MiB
)

// spec is what the init needs to start the test: everything resolved.
type spec struct {
	Path      string
	Argv, Env []string
	Dir       string
	Namespace bool // the init is PID 1 of its own namespaces
}

func (s spec) encode() ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	if err := gob.NewEncoder(&b).Encode(s); err != nil {
		return nil, err
	}
	if b.Len() > specMost {
		return nil, fmt.Errorf("arguments and environment are %d bytes, more than %d", b.Len(), specMost)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(b.Len()-4))
	return b.Bytes(), nil
}

// readSpec reads exactly the spec and leaves the orders behind it in r.
func readSpec(r io.Reader) (spec, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return spec{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > specMost {
		return spec{}, fmt.Errorf("spec of %d bytes, more than %d", n, specMost)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		return spec{}, err
	}
	var s spec
	if err := gob.NewDecoder(&body).Decode(&s); err != nil {
		return spec{}, err
	}
	if s.Path == "" || len(s.Argv) == 0 {
		return spec{}, errors.New("spec without a program")
	}
	return s, nil
}

// status is one line of the init.
type status struct {
	word string // one of the words above
	n    int
	text string
}

func (s status) line() string {
	if s.word == "refused" || s.word == "start-error" {
		return s.word + " " + strconv.Quote(s.text) + "\n"
	}
	return s.word + " " + strconv.Itoa(s.n) + "\n"
}

func parseStatus(line string) (status, error) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "refused", "start-error":
		text, err := strconv.Unquote(rest)
		if err != nil {
			return status{}, fmt.Errorf("status %q: %w", line, err)
		}
		return status{word: word, text: text}, nil
	case "started", "exit", "signal":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return status{}, fmt.Errorf("status %q: %w", line, err)
		}
		if n < 0 || n == 0 && word != "exit" || n > 255 && word != "started" {
			return status{}, fmt.Errorf("status %q: out of range", line)
		}
		return status{word: word, n: n}, nil
	}
	return status{}, fmt.Errorf("status %q: unknown word", line)
}

// next reads one status line; io.EOF when the init is gone.
func next(r *bufio.Reader) (status, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return status{}, err
	}
	return parseStatus(strings.TrimSuffix(string(line), "\n"))
}

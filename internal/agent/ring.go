package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/agent/disk"
)

// ring is what an agent's name has of tokens on this machine, one key for the
// servers of each farm. Its file holds secrets: only its owner may read it.
type ring struct {
	path string
	Keys []*key `json:"keys"`
}

// key is a token of the agent's own, and what it is exchanging for the next
// one.
type key struct {
	Servers  []string  `json:"servers"`             // the addresses of one farm
	Token    string    `json:"token,omitempty"`     // taken by the server; empty: not yet
	Join     qgjob.Sum `json:"join,omitempty"`      // of the join token that it was exchanged for
	Next     string    `json:"next,omitempty"`      // drawn; the server may know it, its answer has not come
	NextJoin qgjob.Sum `json:"next_join,omitempty"` // of the join token that Next is exchanged for
}

func ringPath(stateDir, name string) string {
	return filepath.Join(stateDir, "tokens", folderFor(qgjob.AgentID(name))+".json")
}

// readRing reads the file; without one the ring is empty. One that cannot be
// read is an error: to begin anew would cost another join token in any case.
func readRing(path string) (*ring, error) {
	r := &ring{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the agent's token: %w", err)
	}
	if json.Unmarshal(text, r) != nil || slices.Contains(r.Keys, nil) { // its error might quote a secret
		return nil, &qgjob.Error{Kind: qgjob.KindInvalid, Field: "state-dir", Message: "the agent's token cannot be read: " + path + " is damaged", Hint: "remove it, and start the agent with another join token"}
	}
	return r, nil
}

// save replaces the file; a power cut afterwards does not undo it.
func (r *ring) save() error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := disk.Replace(r.path, append(text, '\n')); err != nil {
		return fmt.Errorf("keep the agent's token: %w", err)
	}
	return nil
}

// of gives the key for the servers of a farm, nil without one. A farm whose
// addresses were found and not given gets only what it got before: any
// addition to the list could be somebody who collects tokens.
func (r *ring) of(servers []string, given bool) *key {
	for _, k := range r.Keys {
		known := 0
		for _, s := range servers {
			if slices.Contains(k.Servers, s) {
				known++
			}
		}
		if known == len(servers) || given && known > 0 {
			return k
		}
	}
	return nil
}

// widen is of for a farm that was given: it makes a key when there is none, and
// notes the addresses that are new. An address has one key.
func (r *ring) widen(servers []string) (k *key, changed bool) {
	if k = r.of(servers, true); k == nil {
		k = &key{}
		r.Keys = append(r.Keys, k)
	}
	for _, s := range servers {
		if slices.Contains(k.Servers, s) {
			continue
		}
		changed = true
		for _, other := range r.Keys {
			other.Servers = slices.DeleteFunc(other.Servers, func(have string) bool { return have == s })
		}
		k.Servers = append(k.Servers, s)
	}
	r.Keys = slices.DeleteFunc(r.Keys, func(other *key) bool { return len(other.Servers) == 0 })
	return k, changed
}

package browserstack

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"slices"
)

// hidden stands where a secret stood.
const hidden = "[access key]"

// Secrets are the texts that must not be seen: the access key as it is, as it
// stands in an address, and in the basic authorization made of it.
type Secrets [][]byte

// NewSecrets gives those of an account, longest first.
func NewSecrets(a Account) Secrets {
	if a.key == "" {
		return nil
	}
	all := []string{a.key, url.QueryEscape(a.key), base64.StdEncoding.EncodeToString([]byte(a.User + ":" + a.key))}
	slices.Sort(all)
	var out Secrets
	for _, s := range slices.Compact(all) {
		out = append(out, []byte(s))
	}
	slices.SortStableFunc(out, func(a, b []byte) int { return len(b) - len(a) })
	return out
}

// Clean gives p with every secret replaced; p itself when there is none.
func (s Secrets) Clean(p []byte) []byte {
	for _, secret := range s {
		if bytes.Contains(p, secret) {
			p = bytes.ReplaceAll(p, secret, []byte(hidden))
		}
	}
	return p
}

// Filter hands on what is written to it without the secrets. It holds back an
// end that may be the beginning of one until more comes, or Flush. One
// goroutine uses it at a time.
type Filter struct {
	to      io.Writer
	secrets Secrets
	held    []byte
}

// NewFilter writes to to.
func (s Secrets) NewFilter(to io.Writer) *Filter { return &Filter{to: to, secrets: s} }

// Write takes all of p.
func (f *Filter) Write(p []byte) (int, error) {
	all := f.secrets.Clean(append(f.held, p...))
	keep := f.secrets.tail(all)
	f.held = bytes.Clone(all[len(all)-keep:])
	if _, err := f.to.Write(all[:len(all)-keep]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush hands on what was held back: nothing follows it.
func (f *Filter) Flush() error {
	rest := f.held
	f.held = nil
	if len(rest) == 0 {
		return nil
	}
	_, err := f.to.Write(rest)
	return err
}

// tail is the length of the longest end of p that a secret begins with.
func (s Secrets) tail(p []byte) int {
	longest := 0
	for _, secret := range s {
		for n := min(len(secret)-1, len(p)); n > longest; n-- {
			if bytes.HasPrefix(secret, p[len(p)-n:]) {
				longest = n
			}
		}
	}
	return longest
}

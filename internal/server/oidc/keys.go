package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/qualgent/qgjob"
)

// How the issuer's keys are fetched.
const (
	keysFresh   = time.Hour        // fetched again after that
	keysStale   = 24 * time.Hour   // good for so long when the issuer does not answer
	keysPause   = time.Minute      // at least, between two fetches: an unknown kid, or a failure, does not hammer
	keysWithin  = 10 * time.Second // for both documents
	maxDocument = 256 << 10        // bytes of one
	maxKeys     = 64
	minKeyBits  = 2048
	maxKeyBits  = 8192
)

// keys are the issuer's, by key id.
type keys struct {
	issuer string
	client *http.Client

	mu      sync.Mutex // held while they are fetched, so that one request does it for all
	known   map[string]*rsa.PublicKey
	fetched time.Time // of known
	tried   time.Time // also in vain
	failed  error     // of the last try
}

func newKeys(issuer string, client *http.Client) *keys {
	own := http.Client{Timeout: keysWithin}
	if client != nil {
		own.Transport = client.Transport
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keys{issuer: issuer, client: &own}
}

// find gives the key of a kid. One that is not known has the keys fetched
// again, since the issuer may have changed them, but not sooner than a minute
// after the last time. Unavailable: the issuer does not answer, and what is
// known of it is too old.
func (k *keys) find(ctx context.Context, kid string, now time.Time) (*rsa.PublicKey, *Refusal, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, age := k.known[kid], now.Sub(k.fetched)
	if (key == nil || age > keysFresh) && now.Sub(k.tried) >= keysPause {
		k.tried = now
		if fresh, err := k.fetch(ctx); err == nil {
			k.known, k.fetched, k.failed, age = fresh, now, nil, 0
			key = k.known[kid]
		} else {
			k.failed = err
		}
	}
	switch {
	case k.known == nil || age > keysStale:
		return nil, nil, qgjob.Unavailable(k.failed, "the issuer of id-tokens cannot be asked for its keys")
	case key == nil:
		return nil, forged("key id", fmt.Sprintf("kid %.64q is not one of the issuer's", kid)), nil
	}
	return key, nil, nil
}

// fetch reads the discovery document (OpenID Connect Discovery 1.0) and the
// keys that it names. Both must come from the pinned issuer's own host.
func (k *keys) fetch(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	// Whoever asked may leave: the answer is for all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWithin)
	defer cancel()
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.issuer+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	if about.Issuer != k.issuer {
		return nil, fmt.Errorf("the discovery document is of issuer %.128q", about.Issuer)
	}
	if !sameOrigin(k.issuer, about.Keys) {
		return nil, fmt.Errorf("jwks_uri %.128q is not at the issuer", about.Keys)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := k.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	found := map[string]*rsa.PublicKey{}
	for _, j := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if key, err := j.public(); err == nil {
			found[j.Kid] = key
		}
	}
	if len(found) == 0 {
		return nil, errors.New("the issuer's document holds no key for RS256")
	}
	return found, nil
}

func (k *keys) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %d", address, res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return err
	}
	if len(text) > maxDocument {
		return fmt.Errorf("GET %s: more than %d bytes", address, maxDocument)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("GET %s: %w", address, err)
	}
	return nil
}

// jwk is a key of a set (RFC 7517).
type jwk struct {
	Kid string `json:"kid"`
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	N   string `json:"n"`
	E   string `json:"e"`
}

// public is the key, when it is an RSA key that may sign by RS256.
func (j jwk) public() (*rsa.PublicKey, error) {
	if j.Kid == "" || j.Kty != "RSA" || (j.Use != "" && j.Use != "sig") || (j.Alg != "" && j.Alg != "RS256") {
		return nil, errors.New("not for RS256")
	}
	n, err1 := part.DecodeString(j.N)
	e, err2 := part.DecodeString(j.E)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("%d bits", bits)
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("exponent")
	}
	key.E = int(exponent.Int64())
	return key, nil
}

func sameOrigin(a, b string) bool {
	x, err1 := url.Parse(a)
	y, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && x.Scheme == y.Scheme && x.Host == y.Host && y.User == nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

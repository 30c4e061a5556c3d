package hook

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/qualgent/qgjob"
)

// App is a GitHub App that is installed where runs are told of
// (docs.github.com/apps).
type App struct {
	ID           int64
	Installation int64
	Key          *rsa.PrivateKey
}

// ParseAppKey reads an app's private key, PEM, as GitHub gives it.
func ParseAppKey(text []byte) (*rsa.PrivateKey, error) {
	bad := qgjob.Invalid("key_file", "the app's key must be an RSA private key in PEM, as GitHub gives it")
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, bad
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, bad
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, bad
	}
	return key, nil
}

// proof is the token with which an app speaks for itself: a JWT signed with
// RS256 (RFC 7519, RFC 7518 section 3.3). It begins a minute ago, because
// clocks differ, and lasts nine; GitHub takes ten.
func (a App) proof(now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]int64{"iat": now.Unix() - 60, "exp": now.Unix() + 540, "iss": a.ID})
	if err != nil {
		return "", err
	}
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.Key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + part(signature), nil
}

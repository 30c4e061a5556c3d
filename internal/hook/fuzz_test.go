package hook

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// FuzzParseAppKey: what is no key is refused, and not shown.
func FuzzParseAppKey(f *testing.F) {
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Add([]byte("not a key but a secret"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseAppKey(text)
		if (key == nil) != (err != nil) || err != nil && qgjob.KindOf(err) != qgjob.KindInvalid || err != nil && len(text) > 12 && strings.Contains(err.Error(), string(text)) {
			t.Errorf("%v %v", key, err)
		}
	})
}

// FuzzRefusal: whatever is answered, its words come as one short line.
func FuzzRefusal(f *testing.F) {
	f.Add(403, []byte(`{"message":"API rate limit exceeded"}`), "0")
	f.Add(502, []byte("<html>\n"), "")
	f.Add(422, []byte(`{"message":"a\nb\u001b"}`), "")
	f.Fuzz(func(t *testing.T, status int, body []byte, left string) {
		err := refusal(http.MethodPost, "/x", &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{"X-Ratelimit-Remaining": {left}}})
		if err == nil || len(err.Error()) > 2000 || strings.ContainsAny(strings.TrimSuffix(err.Error(), "\n"+ErrRefused.Error()), "\n\x1b\x00") {
			t.Errorf("%q", err)
		}
	})
}

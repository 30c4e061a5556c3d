package blob

import (
	"crypto/sha256"
	"testing"

	"github.com/qualgent/qgjob"
)

// sumOf is the name under which a Folder keeps bytes.
func sumOf(b []byte) qgjob.Sum {
	digest := sha256.New()
	digest.Write(b)
	return sumFrom(digest)
}

// The vectors are those of FIPS 180-4's examples, and of nothing.
func TestSumOf(t *testing.T) {
	for text, want := range map[string]string{
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		sum := sumOf([]byte(text))
		if string(sum) != want || valid(sum) != nil {
			t.Errorf("sumOf(%q) = %s", text, sum)
		}
		if whole(sum) != want[:2]+"/"+want || partial(sum) != "partial/"+want {
			t.Errorf("paths %s and %s", whole(sum), partial(sum))
		}
	}
}

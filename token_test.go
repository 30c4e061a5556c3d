package qgjob

import (
	"strings"
	"testing"
)

func TestTokensAreKnownByTheirForm(t *testing.T) {
	for _, kind := range append([]TokenKind{TokenCI}, TokenKinds...) {
		text := NewToken(kind)
		if got, ok := TokenKindOf(text); !ok || got != kind || !strings.HasPrefix(text, TokenPrefix) {
			t.Errorf("%s: %q, %t", kind, got, ok)
		}
		for i := range text { // every typing error is seen here, before a database is asked
			c := byte('x')
			if text[i] == c {
				c = 'y'
			}
			if _, ok := TokenKindOf(text[:i] + string(c) + text[i+1:]); ok {
				t.Fatalf("%s: the token with %c for its character %d is taken", kind, c, i)
			}
			if _, ok := TokenKindOf(text[:i]); ok {
				t.Fatalf("%s: its first %d characters are taken", kind, i)
			}
		}
	}
}

func TestServesAgent(t *testing.T) {
	for _, test := range []struct {
		name, id AgentID
		want     bool
	}{
		{"", "any", true}, {"a", "a", true}, {"a", "a-1", true}, {"a", "a-64", true}, {"a", "a-100", false}, {"a", "a-0", false}, {"a", "a-x", false}, {"a", "b", false}, {"a-1", "a", false},
		{"a-*", "a", true}, {"a-*", "a-1", true}, {"a-*", "a-emulator-5554", true}, {"a-*", "a-", false}, {"a-*", "ab", false}, {"a-*", "ab-1", false}, {"a-*", "b-a-1", false}, {"-*", "x-1", false},
		{JoinRequest{AgentID: "lab", Devices: true}.Bound(), "lab-R58N", true}, {JoinRequest{AgentID: "lab"}.Bound(), "lab-R58N", false},
	} {
		if got := ServesAgent(test.name, test.id); got != test.want {
			t.Errorf("a token of %q acts as %q: %t", test.name, test.id, got)
		}
	}
}

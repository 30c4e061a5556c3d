package store

import (
	"maps"
	"strings"
	"testing"
)

// FuzzNews: a notification of another server, older or newer, or of somebody
// else who found the channel.
func FuzzNews(f *testing.F) {
	f.Add(`{"from":"x","runs":["run_1"],"logs":["` + strings.Repeat("a", 32) + `"],"work":true}`)
	f.Add(`{"runs":[1]}`)
	f.Add(`{"many":"yes"}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, payload string) {
		n := parseNews(payload)
		if n.From == "" && !n.Many && len(n.Runs)+len(n.Logs) == 0 && !n.Work && !n.Agents && !strings.Contains(payload, "{") {
			t.Errorf("%q is taken for news of nothing", payload)
		}
	})
}

// FuzzLabels: what is written is read again.
func FuzzLabels(f *testing.F) {
	f.Add(`{"a":"b"}`, "k", "v")
	f.Add(`{"a":1}`, "\x00", "\xff")
	f.Fuzz(func(t *testing.T, text, k, v string) {
		if _, err := parseLabels(text); err == nil && text != "" && !strings.ContainsAny(text, "{n") {
			t.Errorf("%q is read as labels", text)
		}
		want := map[string]string{strings.ToValidUTF8(k, "?"): strings.ToValidUTF8(v, "?")}
		got, err := parseLabels(labelsJSON(want))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q came back as %q: %v", want, got, err)
		}
	})
}

// FuzzDatabaseURL: no URL shows its password, neither in what may be shown of
// it nor in the error about it.
func FuzzDatabaseURL(f *testing.F) {
	f.Add("u", "hidden", "h:5432", "db?sslmode=disable")
	f.Add("u", "hidden", "h:x", "db")
	f.Add("u", "hidden", "h", "db?options=%zz")
	f.Fuzz(func(t *testing.T, user, password, host, rest string) {
		const secret = "Zq7hidden"
		for _, url := range []string{
			"postgres://" + user + ":" + secret + password + "@" + host + "/" + rest,
			"postgres://" + user + "@" + host + "/" + rest + "?password=" + secret,
		} {
			// What stands in the place of user, host or name is not the password.
			if shown := RedactDatabase(url); strings.Contains(shown, secret) && !strings.ContainsAny(user+password+host+rest, "/?#@:%&") {
				t.Errorf("%q is shown as %q", url, shown)
			}
			if _, err := parsePostgres(url); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", url, err)
			}
		}
	})
}

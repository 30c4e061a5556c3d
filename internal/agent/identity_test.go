//go:build unix

package agent

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qualgent/qgjob"
)

func incarnationOf(t *testing.T, dir string, now time.Time) int64 {
	t.Helper()
	me, err := claimIdentity(dir, "a1", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := me.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	return me.incarnation
}

// TestIncarnationsOnlyRise: with the same clock, with a clock set back, and
// with a wiped disk.
func TestIncarnationsOnlyRise(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := incarnationOf(t, dir, now)
	second := incarnationOf(t, dir, now)
	third := incarnationOf(t, dir, now.AddDate(-20, 0, 0))
	wiped := incarnationOf(t, t.TempDir(), now.Add(time.Minute))
	if first < 1 || second <= first || third <= second || wiped <= third {
		t.Errorf("incarnations %d, %d, %d, %d", first, second, third, wiped)
	}
}

// TestDamagedIncarnationIsNoNewBeginning: guessing a number could make the
// agent older than it was.
func TestDamagedIncarnationIsNoNewBeginning(t *testing.T) {
	dir := t.TempDir()
	incarnationOf(t, dir, time.Now())
	path := filepath.Join(dir, "agents", "a1", "incarnation")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := claimIdentity(dir, "a1", time.Now())
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("error %v, want one that names the file", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	incarnationOf(t, dir, time.Now()) // the lock was given back
}

func TestFoldersOfAgentNames(t *testing.T) {
	seen := map[string]qgjob.AgentID{}
	for _, id := range []qgjob.AgentID{"a1", "a1-2", "pixel_8.old", "..", ".", "-rf", "../a1", "a/b", "ä", strings2(100), strings2(101), "A b"} {
		folder := folderFor(id)
		if !filepath.IsLocal(folder) || strings.ContainsAny(folder, "/\\") || folder == "." || len(folder) > 64 {
			t.Errorf("%q lies in %q", id, folder)
		}
		if other, ok := seen[folder]; ok {
			t.Errorf("%q and %q share %q", id, other, folder)
		}
		seen[folder] = id
	}
	if folderFor("a1") != "a1" {
		t.Error("plain names should be readable")
	}
}

func strings2(n int) qgjob.AgentID { return qgjob.AgentID(strings.Repeat("n", n)) }

func TestSpoolKeepsWhatItCanRead(t *testing.T) {
	dir := t.TempDir()
	s, err := openSpool(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	id := func(c string) qgjob.LeaseID { return qgjob.LeaseID(strings.Repeat(c, 32)) }
	for i, e := range []spooled{{LeaseID: id("b"), At: now}, {LeaseID: id("a"), At: now.Add(-25 * time.Hour)}, {LeaseID: id("c"), At: now.Add(-8 * 24 * time.Hour)}} {
		e.JobID = qgjob.JobID(i + 1)
		e.Complete = qgjob.CompleteRequest{Outcome: qgjob.OutcomePassed, Digest: "0123456789", Tests: []qgjob.TestResult{{File: "a.js", Title: []string{"t"}}}}
		if err := s.put(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.put(spooled{LeaseID: "../../evil"}); err == nil {
		t.Error("a lease that is no lease was spooled")
	}
	other, _ := json.Marshal(spooled{LeaseID: id("a")})
	for name, text := range map[string]string{string(id("d")) + ".json": `{"lease_id":`, string(id("e")) + ".json": string(other), "x.json": "{}", "x.123.tmp": "half"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.list(now)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2 || kept[0].LeaseID != id("a") || kept[1].LeaseID != id("b") || kept[1].Complete.Tests[0].Title[0] != "t" {
		t.Errorf("kept %+v", kept)
	}
	aside, _ := os.ReadDir(filepath.Join(dir, "damaged"))
	if len(aside) != 3 {
		t.Errorf("%d files were set aside, want 3", len(aside))
	}
	for range 2 {
		if err := s.remove(id("a")); err != nil {
			t.Fatal(err)
		}
	}
	if kept, _ = s.list(now); len(kept) != 1 {
		t.Errorf("%d results after a removal", len(kept))
	}
}

// TestClipKeepsCharactersWhole and the limit.
func TestClipKeepsCharactersWhole(t *testing.T) {
	for n := 3; n < 20; n++ {
		got := clip("ääää€€€€😀😀", n)
		if len(got) > n || strings.ToValidUTF8(got, "?") != got {
			t.Errorf("clip to %d gives %q", n, got)
		}
	}
	if clip("short", 5) != "short" {
		t.Error("what fits was cut")
	}
}

package server

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/report"
)

// failedWith is a run of one failed job whose only test left these files, by
// name, on a server with a token.
func failedWith(r *rig, files map[string]string, auth ...string) (qgjob.RunID, qgjob.LeaseID) {
	r.t.Helper()
	submitted := must[qgjob.SubmitResponse](r, 201, "POST", "/v1/runs", qgjob.SubmitRequest{OrgID: "acme", Jobs: []qgjob.JobSpec{spec("v1", "cart.spec.js")}}, auth...)
	must[qgjob.RegisterResponse](r, 200, "POST", "/v1/agents/e1/register", qgjob.RegisterRequest{Incarnation: 1, Target: qgjob.TargetEmulator, Runner: "exec"}, auth...)
	claimed := must[qgjob.ClaimResponse](r, 200, "POST", "/v1/agents/e1/claim", claimOf(0), auth...)
	if len(claimed.Offers) != 1 {
		r.t.Fatalf("%d offers", len(claimed.Offers))
	}
	lease := claimed.Offers[0].LeaseID
	at := "/v1/leases/" + string(lease)
	must[qgjob.StartResponse](r, 200, "POST", at+"/start", qgjob.StartRequest{AgentID: "e1", Incarnation: 1}, auth...)
	done := result("e1", qgjob.OutcomeFailed)
	done.Reason = qgjob.ReasonAssertion
	done.Tests = []qgjob.TestResult{{File: "cart.spec.js", Title: []string{"total"}, Status: qgjob.TestFailed, Message: "no"}}
	for _, name := range qgjob.SortedKeys(files) {
		kind := map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}[filepath.Ext(name)]
		must[qgjob.Artifact](r, 200, "POST", at+"/artifacts", qgjob.ArtifactRequest{Name: name, SHA256: r.upload(files[name]), ContentType: kind}, auth...)
		done.Tests[0].Attachment = append(done.Tests[0].Attachment, name)
	}
	must[qgjob.CompleteResponse](r, 200, "POST", at+"/complete", done, auth...)
	return submitted.RunID, lease
}

var pictureSource = regexp.MustCompile(`<img src="([^"]*)"`)

// A browser asks for an image without the token, and a saved page has no
// server to ask: the screenshots of what failed are in the page.
func TestReportHoldsItsPictures(t *testing.T) {
	auth := []string{"Authorization", "Bearer secret"}
	r := newRig(t, rigOptions{token: "secret"})
	shot, edge := make([]byte, 100_000), make([]byte, report.MaxPicture)
	_, _ = rand.Read(shot)
	_, _ = rand.Read(edge)
	run, lease := failedWith(r, map[string]string{
		"shots/a.png": string(shot), "shots/b.jpg": string(edge), "large.png": string(edge) + "x", "drawing.svg": "<svg/>",
	}, auth...)
	page := r.ask("GET", "/v1/runs/"+run.String()+"/report", nil, auth...)
	if page.Status != 200 {
		t.Fatal(page)
	}
	want := map[string]string{"image/png": string(shot), "image/jpeg": string(edge)}
	for _, found := range pictureSource.FindAllStringSubmatch(string(page.Body), -1) {
		kind, text, ok := strings.Cut(strings.TrimPrefix(found[1], "data:"), ";base64,")
		got, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "&#43;", "+"))
		if !ok || err != nil || string(got) != want[kind] {
			t.Errorf("a picture %.60q: %v, %d bytes, want %d", found[1], err, len(got), len(want[kind]))
		}
		delete(want, kind)
	}
	if len(want) != 0 {
		t.Errorf("%d pictures are not in the page", len(want))
	}
	for _, name := range []string{"large.png", "drawing.svg"} {
		if !strings.Contains(string(page.Body), `<a href="/v1/artifacts/`+string(lease)+"/"+name+`">`+name) {
			t.Errorf("no link to %s", name)
		}
	}
	for _, policy := range []string{page.Header.Get("Content-Security-Policy"), string(page.Body)} {
		if !strings.Contains(policy, "img-src 'self' data:;") {
			t.Errorf("the policy keeps the pictures out: %.300s", policy)
		}
	}
}

// A picture that is gone from the disk, or is no longer what was sent, costs
// the page that picture. The log says which.
func TestReportWithoutALostPicture(t *testing.T) {
	r := newRig(t, rigOptions{})
	run, _ := failedWith(r, map[string]string{"gone.png": "first picture", "spoilt.png": "second picture", "well.png": "third picture"})
	if err := r.Blobs.Delete(sumOf("first picture")); err != nil {
		t.Fatal(err)
	}
	spoil(t, r.dir, "second picture", "another image!")
	page := r.ask("GET", "/v1/runs/"+run.String()+"/report", nil)
	body := string(page.Body)
	if page.Status != 200 || strings.Count(body, "<img ") != 1 || !strings.Contains(body, base64.StdEncoding.EncodeToString([]byte("third picture"))) {
		t.Errorf("%d, %d pictures", page.Status, strings.Count(body, "<img "))
	}
	for _, name := range []string{"gone.png", "spoilt.png"} {
		if !strings.Contains(body, ">"+name+"</a> <small>") || !strings.Contains(r.logs.String(), "name="+name) {
			t.Errorf("%s is not a link, or the log does not name it: %s", name, r.logs.String())
		}
	}
}

// spoil overwrites the file under dir that holds a text.
func spoil(t *testing.T, dir, old, text string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != old {
			return err
		}
		found++
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o600)
	})
	if err != nil || found != 1 {
		t.Fatalf("%d files hold %q, %v", found, old, err)
	}
}

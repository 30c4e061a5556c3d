package storetest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/qualgent/qgjob"
)

func sum(digit string) qgjob.Sum { return qgjob.Sum(strings.Repeat(digit, 64)) }

func (w *world) putApp(version qgjob.AppVersionID, build qgjob.Sum) {
	w.Helper()
	_, err := w.s.PutApp(w.ctx, qgjob.App{OrgID: "acme", AppVersionID: version, SHA256: build, Size: 7, FileName: string(version) + ".apk"})
	w.ok(err)
	w.check()
}

func (w *world) log(id qgjob.LeaseID, offset int64, data string, want string) {
	w.Helper()
	resp, err := w.s.AppendLog(w.ctx, id, offset, []byte(data))
	w.ok(err)
	w.equal("answer", fmt.Sprintf("%d %v", resp.Length, resp.Full), want)
}

// readLog reads a log in small bites.
func (w *world) readLog(id qgjob.LeaseID, bite int) string {
	w.Helper()
	var all bytes.Buffer
	for {
		b, err := w.s.Log(w.ctx, id, int64(all.Len()), bite)
		w.ok(err)
		if len(b) == 0 {
			return all.String()
		}
		all.Write(b)
	}
}

var dataTests = []test{
	{"log/bytes come once and in order", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		w.log(o.LeaseID, 0, "hello ", "6 false")
		w.log(o.LeaseID, 0, "hello ", "6 false") // repeated
		w.log(o.LeaseID, 3, "lo world", "11 false")
		w.log(o.LeaseID, 11, "", "11 false")
		_, err := w.s.AppendLog(w.ctx, o.LeaseID, 12, []byte("gap"))
		w.refused(err, qgjob.KindConflict, qgjob.CodeOffset)
		w.equal("offset to go on from", w.asError(err).Offset, 11)
		_, err = w.s.AppendLog(w.ctx, o.LeaseID, -1, []byte("x"))
		w.refused(err, qgjob.KindConflict, qgjob.CodeOffset)
		_, err = w.s.AppendLog(w.ctx, "00000000000000000000000000000000", 0, []byte("x"))
		w.refused(err, qgjob.KindNotFound, "")
		w.complete(o, qgjob.OutcomePassed)
		w.log(o.LeaseID, 11, "!", "12 false") // the last chunk may come after the result
		for bite := 1; bite < 14; bite++ {
			w.equal("log", w.readLog(o.LeaseID, bite), "hello world!")
		}
		b, err := w.s.Log(w.ctx, o.LeaseID, 7, 100)
		w.ok(err)
		w.equal("from the middle", string(b), "orld!")
		a, err := w.s.Attempt(w.ctx, 1, 0)
		w.ok(err)
		w.equal("length", a.LogBytes, 12)
		w.reopen()
		w.equal("log after a restart", w.readLog(o.LeaseID, 100), "hello world!")
	}},
	{"log/beyond the quota bytes are counted and not kept", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		chunk := strings.Repeat("x", 8<<20)
		at := int64(0)
		for ; at < qgjob.MaxAttemptLog-8<<20; at += 8 << 20 {
			w.log(o.LeaseID, at, chunk, fmt.Sprintf("%d false", at+8<<20))
		}
		w.log(o.LeaseID, at, chunk+"more", fmt.Sprintf("%d true", qgjob.MaxAttemptLog+4))
		w.log(o.LeaseID, qgjob.MaxAttemptLog+4, "still more", fmt.Sprintf("%d true", qgjob.MaxAttemptLog+14))
		b, err := w.s.Log(w.ctx, o.LeaseID, qgjob.MaxAttemptLog-3, 100)
		w.ok(err)
		w.equal("end of the log", string(b), "xxx")
		b, err = w.s.Log(w.ctx, o.LeaseID, qgjob.MaxAttemptLog+4, 100)
		w.ok(err)
		w.equal("beyond", len(b), 0)
	}},
	{"log/of each attempt", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		_, err := w.s.Attempt(w.ctx, 1, 0)
		w.refused(err, qgjob.KindNotFound, "", "no attempt")
		first := w.run("a1")
		w.log(first.LeaseID, 0, "one", "3 false")
		w.complete(first, qgjob.OutcomeInterrupted)
		second := w.run("a1")
		w.log(second.LeaseID, 0, "two", "3 false")
		for number, want := range map[int]qgjob.LeaseID{0: second.LeaseID, 1: first.LeaseID, 2: second.LeaseID} {
			a, err := w.s.Attempt(w.ctx, 1, number)
			w.ok(err)
			w.equal("lease", a.LeaseID, want)
		}
		_, err = w.s.Attempt(w.ctx, 1, 3)
		w.refused(err, qgjob.KindNotFound, "", "attempt 3")
		_, err = w.s.Attempt(w.ctx, 9, 0)
		w.refused(err, qgjob.KindNotFound, "", "job_9")
		w.equal("logs", w.readLog(first.LeaseID, 9)+w.readLog(second.LeaseID, 9), "onetwo")
	}},
	{"artifacts/belong to their attempt", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		o := w.run("a1")
		for _, build := range []string{"a", "b"} { // the same name again replaces
			_, err := w.s.AddArtifact(w.ctx, qgjob.Artifact{LeaseID: o.LeaseID, Name: "shots/1.png", SHA256: sum(build), Size: 3, ContentType: "image/png"})
			w.ok(err)
		}
		_, err := w.s.AddArtifact(w.ctx, qgjob.Artifact{LeaseID: o.LeaseID, Name: "trace.zip", SHA256: sum("c"), Size: 4})
		w.ok(err)
		_, err = w.s.AddArtifact(w.ctx, qgjob.Artifact{LeaseID: "00000000000000000000000000000000", Name: "x", SHA256: sum("c")})
		w.refused(err, qgjob.KindNotFound, "")
		w.complete(o, qgjob.OutcomeInterrupted)
		w.end("a1", qgjob.OutcomePassed)
		list := w.attempts(1)
		w.equal("files", words(len(list[0].Artifacts), len(list[1].Artifacts)), "2 0")
		one, err := w.s.Artifact(w.ctx, o.LeaseID, "shots/1.png")
		w.ok(err)
		w.equal("file", words(one.SHA256, one.Size, one.ContentType), words(sum("b"), 3, "image/png"))
		_, err = w.s.Artifact(w.ctx, o.LeaseID, "shots/2.png")
		w.refused(err, qgjob.KindNotFound, "", "shots/2.png")
	}},
	{"apps/a job keeps the build it was submitted with", func(w *world) {
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.putApp("v1", sum("a"))
		w.submit(jobs("v1", 1)...)
		w.putApp("v1", sum("b"))
		w.submit(jobs("v1", 1)...)
		w.submitFor("globex", jobs("v1", 1)...) // acme's build is not globex's
		var builds []string
		for _, j := range w.all(qgjob.JobFilter{}) {
			builds = append(builds, fmt.Sprintf("%.1s", j.BuildSHA256))
		}
		w.equal("builds", strings.Join(builds, ","), ",a,b,")
		seen := map[qgjob.JobID]string{}
		for range 4 {
			o := w.run("a1")
			seen[o.Job.JobID] = "none"
			if o.App != nil {
				seen[o.Job.JobID] = fmt.Sprintf("%.1s %d %s", o.App.SHA256, o.App.Size, o.App.FileName)
			}
			w.complete(o, qgjob.OutcomePassed)
		}
		w.equal("offered builds", seen, "map[job_1:none job_2:a 7 v1.apk job_3:b 7 v1.apk job_4:none]")
		apps, err := w.s.Apps(w.ctx, "acme")
		w.ok(err)
		w.equal("apps", words(len(apps), apps[0].SHA256 == sum("b"), apps[0].UploadedAt.IsZero()), "1 true false")
		apps, err = w.s.Apps(w.ctx, "globex")
		w.ok(err)
		w.equal("apps of globex", len(apps), 0)
	}},
	{"orgs/weight and quota", func(w *world) {
		o, err := w.s.Org(w.ctx, "acme")
		w.ok(err)
		w.equal("never set", o, "{acme 1 0}")
		_, err = w.s.PutOrg(w.ctx, qgjob.Org{OrgID: "acme", Weight: 2.5, Quota: 4})
		w.ok(err)
		w.register("a1")
		w.submit(jobs("v1", 1)...)
		w.end("a1", qgjob.OutcomePassed) // charges the org without touching its settings
		w.reopen()
		o, err = w.s.Org(w.ctx, "acme")
		w.ok(err)
		w.equal("set", o, "{acme 2.5 4}")
		for _, bad := range []qgjob.Org{{OrgID: "", Weight: 1}, {OrgID: "acme"}, {OrgID: "acme", Weight: 101}, {OrgID: "acme", Weight: 1, Quota: -1}} {
			_, err := w.s.PutOrg(w.ctx, bad)
			w.refused(err, qgjob.KindInvalid, "")
		}
	}},
}

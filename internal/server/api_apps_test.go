package server

import (
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

type putApp struct {
	SHA256   qgjob.Sum `json:"sha256"`
	FileName string    `json:"file_name"`
}

func TestApps(t *testing.T) {
	r := newRig(t, rigOptions{})
	one, two := r.upload("build one"), r.upload("build two!")
	app := must[qgjob.App](r, 200, "PUT", "/v1/apps/acme/v1", putApp{one, "shop.apk"})
	if app.Size != 9 || app.SHA256 != one || app.FileName != "shop.apk" || app.UploadedAt.IsZero() {
		t.Errorf("app %+v", app)
	}
	r.submit(spec("v1", "a.js"))
	must[qgjob.App](r, 200, "PUT", "/v1/apps/acme/v1", putApp{two, "shop.app.zip"})
	r.submit(spec("v1", "b.js"))
	if a, b := r.job(1).BuildSHA256, r.job(2).BuildSHA256; a != one || b != two {
		t.Errorf("builds %s and %s: a job must keep the build it was submitted with", a, b)
	}
	must[qgjob.App](r, 200, "PUT", "/v1/apps/other/v%2F9%20x", putApp{two, "OTHER.IPA"})
	if apps := must[list[qgjob.App]](r, 200, "GET", "/v1/apps?org_id=acme", nil); len(apps.Items) != 1 || apps.Items[0].SHA256 != two {
		t.Errorf("apps %+v", apps)
	}
	if apps := must[list[qgjob.App]](r, 200, "GET", "/v1/apps", nil); len(apps.Items) != 2 || apps.Items[1].AppVersionID != "v/9 x" {
		t.Errorf("apps %+v", apps)
	}
}

func TestPutAppRefusals(t *testing.T) {
	r := newRig(t, rigOptions{})
	sum := r.upload("a build")
	p := r.refuse(404, qgjob.KindNotFound, "sha256", "PUT", "/v1/apps/acme/v1", putApp{qgjob.Sum(strings.Repeat("0", 64)), "a.apk"})
	if !strings.Contains(p.Hint, "PATCH /v1/blobs") {
		t.Errorf("hint %q does not say how to upload", p.Hint)
	}
	// Half of an upload is none.
	half := strings.Repeat("c", 64)
	if _, _, err := r.Blobs.Append(qgjob.Sum(half), 0, 10, strings.NewReader("12345")); err != nil {
		t.Fatal(err)
	}
	r.refuse(404, qgjob.KindNotFound, "sha256", "PUT", "/v1/apps/acme/v1", putApp{qgjob.Sum(half), "a.apk"})
	if info := must[qgjob.BlobInfo](r, 200, "GET", "/v1/blobs/"+half+"/info", nil); info.Complete || info.Received != 5 {
		t.Errorf("info of half an upload: %+v", info)
	}
	for _, name := range []string{"", "a", "a.exe", "a.apk.exe", "dir/a.apk", `dir\a.apk`, "c:a.apk", "-a.apk", ".apk", "..", " a.apk", "a.apk ", "a\x00.apk", "a\n.apk", "\u202ekpa.apk", strings.Repeat("a", 252) + ".apk"} {
		r.refuse(422, qgjob.KindInvalid, "file_name", "PUT", "/v1/apps/acme/v1", putApp{sum, name})
	}
	for _, bad := range []qgjob.Sum{"", "abc", qgjob.Sum(strings.ToUpper(string(sum))), "../../../etc/passwd"} {
		r.refuse(422, qgjob.KindInvalid, "sha256", "PUT", "/v1/apps/acme/v1", putApp{bad, "a.apk"})
	}
	r.refuse(422, qgjob.KindInvalid, "app_version_id", "PUT", "/v1/apps/acme/"+strings.Repeat("v", 129), putApp{sum, "a.apk"})
	r.refuse(422, qgjob.KindInvalid, "org_id", "PUT", "/v1/apps/%20acme/v1", putApp{sum, "a.apk"})
	if apps := must[list[qgjob.App]](r, 200, "GET", "/v1/apps", nil); len(apps.Items) != 0 {
		t.Errorf("apps %+v though all were refused", apps)
	}
}

func TestBlobInfo(t *testing.T) {
	r := newRig(t, rigOptions{})
	sum := r.upload("twelve bytes")
	if got := must[qgjob.BlobInfo](r, 200, "GET", "/v1/blobs/"+string(sum)+"/info", nil); got != (qgjob.BlobInfo{SHA256: sum, Complete: true, Received: 12}) {
		t.Errorf("info %+v", got)
	}
	none := qgjob.Sum(strings.Repeat("d", 64))
	if got := must[qgjob.BlobInfo](r, 200, "GET", "/v1/blobs/"+string(none)+"/info", nil); got != (qgjob.BlobInfo{SHA256: none}) {
		t.Errorf("info of nothing %+v", got)
	}
	r.refuse(422, qgjob.KindInvalid, "sha256", "GET", "/v1/blobs/xyz/info", nil)
}

func TestGroups(t *testing.T) {
	r := newRig(t, rigOptions{})
	if got := must[list[qgjob.Group]](r, 200, "GET", "/v1/groups", nil); got.Items == nil || len(got.Items) != 0 {
		t.Errorf("groups %+v", got)
	}
	high := spec("v1", "b.js")
	high.Priority = 9
	r.submit(spec("v1", "a.js"), high, spec("v2", "c.js"))
	got := must[list[qgjob.Group]](r, 200, "GET", "/v1/groups?org_id=acme", nil)
	if len(got.Items) != 2 || got.Items[0].Waiting != 2 || got.Items[0].HeadPriority != 9 || got.Items[1].AppVersionID != "v2" {
		t.Errorf("groups %+v", got)
	}
	if got := must[list[qgjob.Group]](r, 200, "GET", "/v1/groups?org_id=other", nil); len(got.Items) != 0 {
		t.Errorf("another org's groups %+v", got)
	}
	r.register("a1")
	r.take("a1")
	got = must[list[qgjob.Group]](r, 200, "GET", "/v1/groups", nil)
	if got.Items[0].Waiting != 1 || got.Items[0].Serving != 1 {
		t.Errorf("groups after a claim %+v", got)
	}
}

func TestOrgs(t *testing.T) {
	r := newRig(t, rigOptions{})
	if got := must[qgjob.Org](r, 200, "GET", "/v1/orgs/acme", nil); got != (qgjob.Org{OrgID: "acme", Weight: 1}) {
		t.Errorf("org never set: %+v", got)
	}
	must[qgjob.Org](r, 200, "PUT", "/v1/orgs/acme", `{"weight":2.5,"quota":3}`)
	// What is left out stays.
	if got := must[qgjob.Org](r, 200, "PUT", "/v1/orgs/acme", `{"quota":4}`); got != (qgjob.Org{OrgID: "acme", Weight: 2.5, Quota: 4}) {
		t.Errorf("org %+v", got)
	}
	if got := must[qgjob.Org](r, 200, "GET", "/v1/orgs/acme", nil); got.Quota != 4 || got.Weight != 2.5 {
		t.Errorf("org %+v", got)
	}
	for body, field := range map[string]string{
		`{"weight":0}`: "weight", `{"weight":-1}`: "weight", `{"weight":101}`: "weight", `{"weight":"2"}`: "weight",
		`{"quota":-1}`: "quota", `{"quota":1.5}`: "quota", `{"quota":99999999}`: "quota", `{"share":1}`: "share",
	} {
		r.refuse(422, qgjob.KindInvalid, field, "PUT", "/v1/orgs/acme", body)
	}
	r.refuse(422, qgjob.KindInvalid, "org_id", "PUT", "/v1/orgs/%00", `{}`)
}

package server

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

func (s *Server) appRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodPut, Pattern: "/v1/apps/{org_id}/{app_version_id}", Scope: scopeSubmit, Owner: ownerOrg, ID: "put-app",
			Summary: "Give an app version its uploaded build; jobs submitted from now on test it"}, s.putApp),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/apps", Scope: scopeRead, Owner: ownerQuery, ID: "list-apps", Summary: "List the builds of app versions"}, s.listApps),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/blobs/{sha256}/info", Scope: scopeFetch, Owner: ownerFile, ID: "blob-info",
			Summary: "Tell how much of an uploaded file the server holds"}, s.blobInfo),
		operation(s, route{Method: http.MethodGet, Pattern: "/v1/groups", Scope: scopeRead, Owner: ownerQuery, ID: "list-groups", Summary: "List the groups that have jobs waiting or leased"}, s.listGroups),
	}
}

type putAppInput struct {
	OrgID        qgjob.OrgID        `path:"org_id"`
	AppVersionID qgjob.AppVersionID `path:"app_version_id"`
	Body         struct {
		SHA256   qgjob.Sum `json:"sha256" doc:"of the uploaded build"`
		FileName string    `json:"file_name" doc:"base name; it ends in .apk, .aab, .ipa or .zip"`
	}
}

func (s *Server) putApp(ctx context.Context, in *putAppInput) (*answer[qgjob.App], error) {
	if err := qgjob.CheckName("org_id", string(in.OrgID)); err != nil {
		return nil, inPath(err)
	}
	if err := qgjob.CheckName("app_version_id", string(in.AppVersionID)); err != nil {
		return nil, inPath(err)
	}
	if err := checkBuildName(in.Body.FileName); err != nil {
		return nil, err
	}
	size, err := s.uploaded(ctx, in.OrgID, in.Body.SHA256, "the build", qgjob.MaxAppBuild)
	if err != nil {
		return nil, err
	}
	return answering(s.Store.PutApp(ctx, qgjob.App{OrgID: in.OrgID, AppVersionID: in.AppVersionID, SHA256: in.Body.SHA256, Size: size, FileName: in.Body.FileName}))
}

// uploaded gives the size of a file that must be here, whole and not larger
// than most bytes.
func (s *Server) uploaded(ctx context.Context, org qgjob.OrgID, sum qgjob.Sum, what string, most int64) (int64, error) {
	if _, err := qgjob.ParseSum(string(sum)); err != nil {
		return 0, err
	}
	info, err := s.Blobs.Stat(sum)
	if err != nil {
		return 0, err
	}
	mine, err := s.mayUse(ctx, org, sum, info.Complete)
	switch {
	case err != nil:
		return 0, err
	case !mine:
		e := qgjob.NotFound("%s %s was not uploaded, or not to its end", what, sum)
		e.Field, e.Hint = "sha256", "upload it first: PATCH /v1/blobs/{sha256}"
		return 0, e
	case info.Size > most:
		return 0, &qgjob.Error{Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Field: "sha256", Message: fmt.Sprintf("%s is %d bytes large; allowed: %d", what, info.Size, most)}
	}
	return info.Size, nil
}

// buildEndings are the sorts of builds that a device can take: Android,
// Android bundles, iOS, and a simulator's app or a web app in a zip.
var buildEndings = []string{".apk", ".aab", ".ipa", ".zip"}

const maxFileName = 255 // bytes; what common file systems take

func checkBuildName(name string) error {
	bad := func(why string) error {
		return qgjob.Invalid("file_name", fmt.Sprintf("file_name %.80q %s; allowed: a base name of at most %d bytes that ends in %s", name, why, maxFileName, strings.Join(buildEndings, ", ")))
	}
	ending := strings.ToLower(path.Ext(name))
	switch {
	case len(name) > maxFileName:
		return bad(fmt.Sprintf("is %d bytes long", len(name)))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad("holds unprintable characters")
	case strings.ContainsAny(name, `/\:`):
		return bad("is a path")
	case strings.HasPrefix(name, "-") || strings.HasPrefix(name, ".") || strings.TrimSpace(name) != name:
		return bad("begins with -, a dot or a blank, or ends with a blank")
	case !slices.Contains(buildEndings, ending):
		return bad("is of an unknown sort")
	}
	return nil
}

type orgQuery struct {
	OrgID qgjob.OrgID `query:"org_id" doc:"only this org's"`
}

func (s *Server) listApps(ctx context.Context, in *orgQuery) (*answer[list[qgjob.App]], error) {
	apps, err := s.Store.Apps(ctx, in.OrgID)
	return answering(list[qgjob.App]{apps}, err)
}

func (s *Server) listGroups(ctx context.Context, in *orgQuery) (*answer[list[qgjob.Group]], error) {
	groups, err := s.Store.Groups(ctx, in.OrgID)
	return answering(list[qgjob.Group]{groups}, err)
}

type blobInput struct {
	SHA256 string `path:"sha256" doc:"64 lower-case hex digits"`
}

func (s *Server) blobInfo(ctx context.Context, in *blobInput) (*answer[qgjob.BlobInfo], error) {
	sum, err := qgjob.ParseSum(in.SHA256)
	if err != nil {
		return nil, inPath(err)
	}
	info, err := s.Blobs.Stat(sum)
	if err != nil {
		return nil, err
	}
	if info.Complete {
		if info.Complete, info.Received, err = s.known(ctx, sum, info.Size); err != nil {
			return nil, err
		}
	}
	return answering(qgjob.BlobInfo{SHA256: sum, Complete: info.Complete, Received: info.Received}, nil)
}

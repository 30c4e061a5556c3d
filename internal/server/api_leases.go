package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qualgent/qgjob"
)

func (s *Server) leaseRoutes() []route {
	return []route{
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/leases/{lease_id}/start", Scope: scopeAgent, Owner: ownerLease, ID: "start-attempt",
			Summary: "Ask for leave to begin an attempt"}, s.startAttempt),
		{Method: http.MethodPost, Pattern: "/v1/leases/{lease_id}/log", Scope: scopeAgent, Owner: ownerLease, ID: "append-log", Limit: logBody, Answers: "application/json",
			Summary: "Append raw bytes to an attempt's log at ?offset=", Handler: s.appendLog},
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/leases/{lease_id}/artifacts", Scope: scopeAgent, Owner: ownerLease, ID: "add-artifact",
			Summary: "Tie an uploaded file to an attempt"}, s.addArtifact),
		operation(s, route{Method: http.MethodPost, Pattern: "/v1/leases/{lease_id}/complete", Scope: scopeAgent, Owner: ownerLease, ID: "complete-attempt", Limit: completeBody,
			Summary: "End an attempt with its result, and claim the next in the same call"}, s.completeAttempt),
	}
}

// AtLease is the path of calls about a lease; exported for huma, like AtRun.
type AtLease struct {
	LeaseID string `path:"lease_id" doc:"32 lower-case hex digits"`
}

type startInput struct {
	AtLease
	Body qgjob.StartRequest
}

func (s *Server) startAttempt(ctx context.Context, in *startInput) (*answer[qgjob.StartResponse], error) {
	id, err := qgjob.ParseLeaseID(in.LeaseID)
	if err != nil {
		return nil, inPath(err)
	}
	word, err := s.Store.Start(ctx, id, in.Body)
	return answering(qgjob.StartResponse{Answer: word}, err)
}

// appendLog takes raw bytes: a log is not JSON.
func (s *Server) appendLog(w http.ResponseWriter, r *http.Request) {
	resp, err := s.readLog(r)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(resp) // the client is gone, or has its answer
}

func (s *Server) readLog(r *http.Request) (resp qgjob.LogResponse, err error) {
	id, err := qgjob.ParseLeaseID(r.PathValue("lease_id"))
	if err != nil {
		return resp, inPath(err)
	}
	given := r.URL.Query().Get("offset")
	offset, err := strconv.ParseInt(given, 10, 64)
	if err != nil || offset < 0 {
		return resp, qgjob.Invalid("query.offset", fmt.Sprintf("offset %.40q is not a number of bytes", given))
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return resp, err
	}
	return s.Store.AppendLog(r.Context(), id, offset, data)
}

type artifactInput struct {
	AtLease
	Body qgjob.ArtifactRequest
}

const (
	maxArtifactName = 512 // bytes
	anyBytes        = "application/octet-stream"
)

func (s *Server) addArtifact(ctx context.Context, in *artifactInput) (*answer[qgjob.Artifact], error) {
	id, err := qgjob.ParseLeaseID(in.LeaseID)
	if err != nil {
		return nil, inPath(err)
	}
	if err := checkArtifactName(in.Body.Name); err != nil {
		return nil, err
	}
	kind := anyBytes
	if in.Body.ContentType != "" {
		if _, _, err := mime.ParseMediaType(in.Body.ContentType); err != nil {
			return nil, qgjob.Invalid("content_type", fmt.Sprintf("content_type %.80q is not a media type", in.Body.ContentType))
		}
		kind = in.Body.ContentType
	}
	size, err := s.uploaded(ctx, callerOf(ctx).org, in.Body.SHA256, "the artifact", qgjob.MaxArtifact)
	if err != nil {
		return nil, err
	}
	return answering(s.Store.AddArtifact(ctx, qgjob.Artifact{LeaseID: id, Name: in.Body.Name, SHA256: in.Body.SHA256, Size: size, ContentType: kind}))
}

func checkArtifactName(name string) error {
	printable := func(r rune) bool { return unicode.IsPrint(r) && r != '\\' }
	switch {
	case len(name) > maxArtifactName, !utf8.ValidString(name), strings.ContainsFunc(name, func(r rune) bool { return !printable(r) }), !fs.ValidPath(name), name == ".":
		return qgjob.Invalid("name", fmt.Sprintf("name %.80q is not a clean relative path of at most %d bytes", name, maxArtifactName))
	}
	return nil
}

type completeInput struct {
	AtLease
	Body qgjob.CompleteRequest
}

func (s *Server) completeAttempt(ctx context.Context, in *completeInput) (*answer[qgjob.CompleteResponse], error) {
	id, err := qgjob.ParseLeaseID(in.LeaseID)
	if err != nil {
		return nil, inPath(err)
	}
	if err := checkResult(&in.Body); err != nil {
		return nil, err
	}
	return answering(s.Store.Complete(ctx, id, in.Body))
}

var testStatuses = []qgjob.TestStatus{qgjob.TestPassed, qgjob.TestFailed, qgjob.TestFlaky, qgjob.TestSkipped}

const maxTestText = 4 << 10 // bytes of a test's file, project and title together

// checkResult refuses results that nobody could read later, and cuts messages
// that are too long: a talkative failure must not lose its verdict.
func checkResult(r *qgjob.CompleteRequest) error {
	for i := range r.Tests {
		t := &r.Tests[i]
		at := fmt.Sprintf("tests[%d]", i)
		if !slices.Contains(testStatuses, t.Status) {
			return qgjob.Invalid(at+".status", fmt.Sprintf("%s.status %.32q is unknown; allowed: passed, failed, flaky, skipped", at, t.Status))
		}
		text := len(t.File) + len(t.Project) + len(t.ErrorFile)
		for _, part := range t.Title {
			text += len(part)
		}
		if text > maxTestText {
			return qgjob.Invalid(at+".title", fmt.Sprintf("%s: file, project and title are %d bytes long; allowed: %d", at, text, maxTestText))
		}
		if len(t.Message) > qgjob.MaxMessage {
			t.Message = strings.ToValidUTF8(t.Message[:qgjob.MaxMessage], "")
		}
	}
	if err := checkInstalled("installed", r.Installed); err != nil {
		return err
	}
	if r.Next != nil {
		return checkInstalled("next.installed", r.Next.Installed)
	}
	return nil
}

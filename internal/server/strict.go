package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/qualgent/qgjob"
)

// maxDepth is how deep the JSON of a request may nest; the deepest of ours is
// five.
const maxDepth = 32

func init() {
	// Without this huma takes ORG_ID for org_id.
	huma.ValidateStrictCasing = true
}

// strictly reads a JSON body whole and refuses, before huma looks at it, what
// lenient decoders let pass: another content type (415), text that is no JSON,
// a key given twice, text behind the value (400), and null where a value
// belongs (422). takes is the body's type, nil for a route without one.
func (s *Server) strictly(takes reflect.Type, next http.Handler) http.Handler {
	var nullable map[string]bool
	if takes != nil {
		nullable = map[string]bool{}
		nullableNames(takes, nullable, map[reflect.Type]bool{})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = checkBody(r, body, takes != nil, nullable)
		}
		if err != nil {
			s.writeProblem(w, r, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json") // however it was written
		next.ServeHTTP(w, r)
	})
}

func checkBody(r *http.Request, body []byte, wanted bool, nullable map[string]bool) error {
	if !wanted && len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		e := qgjob.Invalid("header.Content-Type", fmt.Sprintf("Content-Type %.80q is not taken here", r.Header.Get("Content-Type")))
		e.Hint = "send application/json"
		return &statusError{e, http.StatusUnsupportedMediaType}
	}
	if !wanted {
		if string(bytes.Join(bytes.Fields(body), nil)) != "{}" {
			return qgjob.Invalid("body", "this takes no body, or {}")
		}
		return nil
	}
	return checkJSON(body, nullable)
}

// checkJSON walks over one JSON value. nullable names the fields in which null
// means something.
func checkJSON(body []byte, nullable map[string]bool) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body)) // refuses duplicate names and invalid UTF-8
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return malformed(err)
		}
		if depth := dec.StackDepth(); depth > maxDepth {
			return &statusError{qgjob.Invalid("body", fmt.Sprintf("the JSON nests deeper than %d levels", maxDepth)), http.StatusBadRequest}
		} else if depth == 0 {
			break
		}
		if tok.Kind() == 'n' {
			at := dec.StackPointer()
			if !nullable[lastName(string(at))] {
				return qgjob.Invalid(fieldOf(string(at)), fieldOf(string(at))+" must not be null; leave it out to take its default")
			}
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return &statusError{qgjob.Invalid("body", "there is text behind the JSON value"), http.StatusBadRequest}
	}
	return nil
}

func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	e := qgjob.Invalid("body", "the body is not JSON: it ends too early")
	if errors.As(err, &syntax) {
		field := fieldOf(string(syntax.JSONPointer))
		e = qgjob.Invalid(field, fmt.Sprintf("the body is not JSON at byte %d", syntax.ByteOffset))
		if errors.Is(err, jsontext.ErrDuplicateName) {
			e.Message = field + " is given twice"
		}
	}
	return &statusError{e, http.StatusBadRequest}
}

// fieldOf writes a JSON pointer (RFC 6901) as the API's users know a field:
// /jobs/3/test_path is jobs[3].test_path.
func fieldOf(pointer string) string {
	var b strings.Builder
	for name := range jsontext.Pointer(pointer).Tokens() {
		switch {
		case name != "" && strings.Trim(name, "0123456789") == "":
			b.WriteString("[" + name + "]")
		case b.Len() > 0:
			b.WriteString("." + clip(name))
		default:
			b.WriteString(clip(name))
		}
	}
	if b.Len() == 0 {
		return "body"
	}
	return b.String()
}

// lastName is the innermost name of a JSON pointer; for an element of an array
// that of the array with "[]" behind it.
func lastName(pointer string) string {
	last := ""
	for name := range jsontext.Pointer(pointer).Tokens() {
		if name != "" && strings.Trim(name, "0123456789") == "" {
			last += "[]"
			continue
		}
		last = name
	}
	return last
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// nullableNames collects the JSON names of the fields that can hold null: of
// pointers, lists and maps.
func nullableNames(t reflect.Type, names map[string]bool, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		nullableNames(t.Elem(), names, seen)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[t] {
		return
	}
	seen[t] = true
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			names[name] = true
		}
		nullableNames(f.Type, names, seen)
	}
}

// strictJSON is the format in which huma reads bodies. checkJSON has seen the
// text before; this refuses unknown names, in the exact case only, and values
// that do not fit.
var strictJSON = huma.Format{
	Marshal:   huma.DefaultJSONFormat.Marshal,
	Unmarshal: unmarshal,
}

func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(true))
	var wrong *json.SemanticError
	if !errors.As(err, &wrong) {
		return err
	}
	field := fieldOf(string(wrong.JSONPointer))
	if ours, ok := errors.AsType[*qgjob.Error](wrong.Err); ok {
		return errors.New(field + ": " + ours.Message)
	}
	return fmt.Errorf("%s: %s does not fit", field, clip(string(wrong.JSONValue)))
}

package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/qualgent/qgjob"
)

// seedFault is one entry of the detail list of a 422, with the words of
// pydantic 2 and the key order of FastAPI's documentation.
type seedFault struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`
}

// seedForm is the body of a request to one of the seed's routes. Its readers
// gather every fault, in the order in which they are asked; refused tells
// them.
type seedForm struct {
	fields map[string]jsontext.Value
	faults []seedFault
	broken bool  // there are no fields to ask for: the body itself is at fault
	err    error // the body could not be read whole: too large, too slow, cut
}

// readSeedForm reads a body as FastAPI does: without a Content-Type it is
// taken for JSON, with one that is not JSON's it is refused.
func readSeedForm(r *http.Request) *seedForm {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &seedForm{broken: true, err: err}
	}
	if len(body) > 0 && !saysJSON(r.Header.Get("Content-Type")) {
		return brokenForm("model_attributes_type", notAnObject)
	}
	return parseSeedForm(body)
}

const notAnObject = "Input should be a valid dictionary or object to extract fields from"

func saysJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	sub, ok := strings.CutPrefix(kind, "application/")
	return ok && (sub == "json" || strings.HasSuffix(sub, "+json"))
}

func brokenForm(kind, msg string, loc ...any) *seedForm {
	return &seedForm{broken: true, faults: []seedFault{{append([]any{"body"}, loc...), msg, kind}}}
}

// parseSeedForm takes a JSON object apart. Keys that nobody asks for are
// ignored; a key that comes twice, at any depth, is refused: which of the two
// was meant?
func parseSeedForm(body []byte) *seedForm {
	if trimmed := bytes.Trim(body, " \t\r\n"); len(trimmed) == 0 || string(trimmed) == "null" {
		return brokenForm("missing", "Field required")
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	var whole jsontext.Value
	value, err := dec.ReadValue()
	if err == nil {
		whole = value.Clone()
		if _, err = dec.ReadToken(); err == nil { // something follows the value
			return brokenForm("json_invalid", "JSON decode error", int(dec.InputOffset()))
		}
	}
	if !errors.Is(err, io.EOF) {
		return syntaxFault(err, len(body))
	}
	if whole.Kind() != '{' {
		return brokenForm("model_attributes_type", notAnObject)
	}
	return &seedForm{fields: fieldsOf(whole)}
}

// fieldsOf splits an object that is known to be valid.
func fieldsOf(object jsontext.Value) map[string]jsontext.Value {
	fields := map[string]jsontext.Value{}
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != '}' {
		var name jsontext.Token
		if name, err = dec.ReadToken(); err != nil {
			break
		}
		key := name.String()
		var value jsontext.Value
		if value, err = dec.ReadValue(); err == nil {
			fields[key] = value.Clone()
		}
	}
	return fields
}

func syntaxFault(err error, size int) *seedForm {
	bad, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok { // the body ends too early
		return brokenForm("json_invalid", "JSON decode error", size)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		var loc []any
		for part := range bad.JSONPointer.Tokens() {
			loc = append(loc, part)
		}
		return brokenForm("duplicate_key", "The key comes more than once", loc...)
	}
	return brokenForm("json_invalid", "JSON decode error", int(bad.ByteOffset))
}

func (f *seedForm) fault(field, kind, msg string) {
	f.faults = append(f.faults, seedFault{[]any{"body", field}, msg, kind})
}

// refused answers a form with faults and reports whether there were any.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, f *seedForm) bool {
	switch {
	case f.err != nil:
		s.seedError(w, r, f.err)
	case len(f.faults) > 0:
		seedWrite(w, http.StatusUnprocessableEntity, struct {
			Detail []seedFault `json:"detail"`
		}{f.faults})
	default:
		return false
	}
	return true
}

// text reads a required string.
func (f *seedForm) text(field string) (string, bool) {
	if f.broken {
		return "", false
	}
	value, ok := f.fields[field]
	switch {
	case !ok:
		f.fault(field, "missing", "Field required")
		return "", false
	case value.Kind() != '"':
		f.fault(field, "string_type", "Input should be a valid string")
		return "", false
	}
	raw, err := jsontext.AppendUnquote(nil, value)
	if err != nil { // cannot be: the value was read before
		f.fault(field, "string_type", "Input should be a valid string")
		return "", false
	}
	if len(raw) == 0 {
		f.fault(field, "string_too_short", "String should have at least 1 character")
		return "", false
	}
	return string(raw), true
}

// name reads a required id under the rules of qgjob.CheckName.
func (f *seedForm) name(field string) string {
	return f.checked(field, qgjob.MaxNameLen, func(s string) error { return qgjob.CheckName(field, s) })
}

// testPath reads a required path under the rules of qgjob.CheckTestPath.
func (f *seedForm) testPath(field string) string {
	return f.checked(field, qgjob.MaxTestPathLen, qgjob.CheckTestPath)
}

func (f *seedForm) checked(field string, most int, check func(string) error) string {
	s, ok := f.text(field)
	if !ok {
		return ""
	}
	if len(s) > most {
		f.fault(field, "string_too_long", fmt.Sprintf("String should have at most %d bytes", most))
		return ""
	}
	if err := check(s); err != nil {
		f.fault(field, "value_error", "Value error, "+err.Error())
	}
	return s
}

// target reads a required target.
func (f *seedForm) target(field string) qgjob.Target {
	if f.broken {
		return ""
	}
	value, ok := f.fields[field]
	if !ok {
		f.fault(field, "missing", "Field required")
		return ""
	}
	if value.Kind() == '"' {
		if raw, err := jsontext.AppendUnquote(nil, value); err == nil && slices.Contains(qgjob.Targets, qgjob.Target(raw)) {
			return qgjob.Target(raw)
		}
	}
	names := make([]string, len(qgjob.Targets))
	for i, t := range qgjob.Targets {
		names[i] = "'" + string(t) + "'"
	}
	last := len(names) - 1
	f.fault(field, "enum", "Input should be "+strings.Join(names[:last], ", ")+" or "+names[last])
	return ""
}

// wholeNumber is how a string may write an integer.
var wholeNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.0*)?$`)

// priority reads an optional integer from 1 to 10. Like the seed it takes 5.0
// and "5" for 5; unlike it, it takes no boolean and no null.
func (f *seedForm) priority(field string) int {
	value, ok := f.fields[field]
	if f.broken || !ok {
		return qgjob.DefaultPriority
	}
	var text string
	switch value.Kind() {
	case '0':
		text = string(value)
	case '"':
		raw, _ := jsontext.AppendUnquote(nil, value)
		if text = strings.TrimSpace(string(raw)); !wholeNumber.MatchString(text) {
			f.fault(field, "int_parsing", "Input should be a valid integer, unable to parse string as an integer")
			return 0
		}
	default:
		f.fault(field, "int_type", "Input should be a valid integer")
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsInf(n, 0):
		f.fault(field, "finite_number", "Input should be a finite number")
	case n != math.Trunc(n):
		f.fault(field, "int_from_float", "Input should be a valid integer, got a number with a fractional part")
	case n < qgjob.MinPriority:
		f.fault(field, "greater_than_equal", fmt.Sprintf("Input should be greater than or equal to %d", qgjob.MinPriority))
	case n > qgjob.MaxPriority:
		f.fault(field, "less_than_equal", fmt.Sprintf("Input should be less than or equal to %d", qgjob.MaxPriority))
	default:
		return int(n)
	}
	return 0
}

package qgjob

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits on what a request may carry.
const (
	MaxNameLen        = 128              // bytes in org, agent and app version ids, label keys and values
	MaxTestPathLen    = 512              // bytes
	MaxJobsPerRun     = 10_000           // jobs
	MaxLabels         = 32               // labels of an agent, requirements of a job
	MaxRetries        = 10               // test retries
	MinTimeout        = time.Second      // of one attempt's test
	MaxTimeout        = 24 * time.Hour   // of one attempt's test
	DefaultTimeout    = 30 * time.Minute // of one attempt's test
	MaxInfraFails     = 3                // attempts that infrastructure may break before the job is errored
	MaxIdempotencyKey = 255              // bytes
	MaxAttemptLog     = 64 << 20         // bytes of log kept of one attempt
	MaxArtifact       = 512 << 20        // bytes of one artifact
	MaxAppBuild       = 4 << 30          // bytes of one app build
	MaxBundle         = 512 << 20        // bytes of one packed test bundle
	MaxTestsPerReport = 20_000           // test results of one attempt
	MaxMessage        = 8 << 10          // bytes of a failure message
	InstallAllowance  = 15 * time.Minute // what the server's own timeout adds for installs and set-up
)

// CheckName refuses an id that is empty, longer than MaxNameLen, not UTF-8, or
// holds control characters or blanks at its ends.
func CheckName(field, s string) error {
	switch {
	case s == "":
		return Invalid(field, field+" must not be empty")
	case len(s) > MaxNameLen:
		return Invalid(field, fmt.Sprintf("%s is %d bytes long; allowed: %d", field, len(s), MaxNameLen))
	case !utf8.ValidString(s):
		return Invalid(field, field+" must be UTF-8 text")
	case strings.TrimSpace(s) != s:
		return Invalid(field, field+" must not begin or end with blanks")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Invalid(field, field+" must hold printable characters only")
	}
	return nil
}

// CheckTestPath refuses a test_path that is not a clean, relative,
// slash-separated path: a path that could leave its project, become an option
// of the runner, or name a device would be obeyed by nobody.
func CheckTestPath(p string) error {
	bad := func(why string) error {
		return Invalid("test_path", fmt.Sprintf("test_path %q %s; allowed: a clean relative path such as tests/login.spec.js, at most %d bytes", clip(p, 96), why, MaxTestPathLen))
	}
	switch {
	case p == "":
		return Invalid("test_path", "test_path must not be empty")
	case len(p) > MaxTestPathLen:
		return bad(fmt.Sprintf("is %d bytes long", len(p)))
	case !utf8.ValidString(p):
		return bad("is not UTF-8")
	case strings.ContainsRune(p, '\\'):
		return bad("holds a backslash")
	case strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad("holds a control or unprintable character")
	case path.IsAbs(p):
		return bad("is absolute")
	case len(p) > 1 && p[1] == ':':
		return bad("begins with a drive letter")
	}
	for seg := range strings.SplitSeq(p, "/") {
		switch {
		case seg == "..":
			return bad("leaves its project with ..")
		case strings.HasPrefix(seg, "-"):
			return bad("has a segment that begins with -")
		case seg != strings.TrimSpace(seg):
			return bad("has a segment with blanks at its ends")
		}
	}
	if path.Clean(p) != p || p == "." {
		return bad("is not clean")
	}
	return nil
}

// CheckLabels refuses labels or requirements whose keys or values are not
// names, or of which there are more than MaxLabels.
func CheckLabels(field string, labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Invalid(field, fmt.Sprintf("%s holds %d entries; allowed: %d", field, len(labels), MaxLabels))
	}
	for _, k := range SortedKeys(labels) {
		if err := CheckName(field+"."+clip(k, 32), k); err != nil {
			return err
		}
		if err := CheckName(field+"."+clip(k, 32), labels[k]); err != nil {
			return err
		}
		if strings.ContainsAny(k, "=,") || strings.Contains(labels[k], ",") {
			return Invalid(field, fmt.Sprintf("%s %q: a key must not hold = or a comma, a value no comma", field, k+"="+labels[k]))
		}
	}
	return nil
}

// SortedKeys returns a map's keys in order, so that nothing depends on the
// order of Go's maps.
func SortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// LabelText writes labels as "k=v,k=v" with sorted keys; the empty map is "".
// Equal maps give equal text, so it serves as a key.
func LabelText(labels map[string]string) string {
	var b strings.Builder
	for i, k := range SortedKeys(labels) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(k + "=" + labels[k])
	}
	return b.String()
}

// Meets reports whether labels hold every requirement.
func Meets(labels, requires map[string]string) bool {
	for k, v := range requires {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

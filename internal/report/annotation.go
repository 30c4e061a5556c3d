package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/qualgent/qgjob"
)

// MaxAnnotations is how many annotations of one level GitHub shows for a step; what comes after them is dropped without a word.
// https://docs.github.com/en/rest/checks/runs and actions/runner's ExecutionContext name the limit.
const MaxAnnotations = 10

const (
	maxAnnotationTitle   = 200  // bytes
	maxAnnotationMessage = 4096 // bytes
)

// Level is how loud an annotation is.
type Level string

// The levels in use.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
)

// Annotation is one remark of a run on a line of the repository, in GitHub's terms.
type Annotation struct {
	Level   Level
	File    string // relative to the repository's root, slash-separated; empty: on no file
	Line    int    // from 1; 0: on the file as a whole
	Title   string
	Message string
}

// Annotate gives what a run has to say about the lines of its spec files, the most useful first: an error for each failed test, for each job
// that could not be tested and for each cancelled one, a warning for each flaky test. root is the test project's folder relative to the
// repository's root; "" or "." is the root itself. Of each job the first remark comes before the second of any, so that ten annotations show
// ten jobs rather than ten tests of one; what is known to the line comes before what is not. At most MaxAnnotations of a level are given, and how many were left out.
func Annotate(jobs []JobReport, root string) (list []Annotation, left int) {
	type ranked struct {
		Annotation
		class, within int
	}
	var all []ranked
	for i := range jobs {
		class := slices.Index([]string{"failed", "errored", "cancelled", "flaky"}, sectionOf(jobs[i].Job))
		if class < 0 {
			continue
		}
		for n, a := range jobs[i].annotations() {
			if a.File != "" {
				a.File = path.Join(root, a.File)
			}
			all = append(all, ranked{a, class, n})
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		if a.class != b.class {
			return a.class - b.class
		}
		if a.within != b.within {
			return a.within - b.within
		}
		return min(b.Line, 1) - min(a.Line, 1)
	})
	shown := map[Level]int{}
	for _, a := range all {
		if shown[a.Level]++; shown[a.Level] > MaxAnnotations {
			left++
			continue
		}
		list = append(list, a.Annotation)
	}
	return list, left
}

// annotations are the remarks on one job that did not plainly pass.
func (j JobReport) annotations() []Annotation {
	var out []Annotation
	switch sectionOf(j.Job) {
	case "failed":
		for _, t := range j.tests() {
			if t.Status == qgjob.TestFailed {
				out = append(out, j.remark(LevelError, &t, ""))
			}
		}
	case "flaky":
		for _, t := range j.unsteady() {
			out = append(out, j.remark(LevelWarning, &t, "flaky: "))
		}
	}
	if len(out) > 0 {
		return out
	}
	level, word := LevelError, string(j.Job.Status)
	if sectionOf(j.Job) == "flaky" {
		level, word = LevelWarning, "flaky"
	}
	message := j.Job.Message
	if strings.TrimSpace(message) == "" || level == LevelWarning {
		message = j.headline()
	}
	return []Annotation{{Level: level, File: fileOf(j.Job.TestPath, ""), Title: word + ": " + j.Job.TestPath, Message: message}}
}

// unsteady are the tests that failed before they passed: in an earlier attempt or before the runner's own retry.
func (j JobReport) unsteady() []qgjob.TestResult {
	var out []qgjob.TestResult
	before := j.failedBefore()
	for _, t := range j.tests() {
		if t.Status == qgjob.TestFlaky {
			out = append(out, t)
		} else if failed := before[testKey(&t)]; failed != nil && t.Status == qgjob.TestPassed {
			out = append(out, *failed)
		}
	}
	return out
}

// remark is the annotation of one test. It stands on the line that failed when that is one of the spec file, else on the test's own first
// line: a helper that many tests share is not where a reader looks for one of them.
func (j JobReport) remark(level Level, t *qgjob.TestResult, prefix string) Annotation {
	a := Annotation{Level: level, File: fileOf(t.File, j.Job.TestPath), Line: t.Line, Title: prefix + strings.Join(t.Title, " › "), Message: t.Message}
	if t.ErrorLine > 0 && (t.ErrorFile == "" || t.ErrorFile == t.File) {
		a.Line = t.ErrorLine
	}
	if strings.TrimSpace(a.Message) == "" {
		a.Message = j.headline()
	}
	if t.ErrorFile != "" && t.ErrorFile != t.File {
		a.Message += "\nat " + place(t.ErrorFile, t.ErrorLine)
	}
	return a
}

// fileOf gives a name that stays inside the repository, else the other one, else "".
func fileOf(name, otherwise string) string {
	name = path.Clean(slashed(Clean(name)))
	if name == "." || name == ".." || strings.HasPrefix(name, "../") || absolute(name) || strings.ContainsAny(name, "\n\t") {
		if otherwise == "" {
			return ""
		}
		return fileOf(otherwise, "")
	}
	return name
}

// Command is the annotation as one line that GitHub's runner obeys, without its line end. Nothing of it that came from a test can end the line,
// leave its property or begin another command.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
func (a Annotation) Command() string {
	var props []string
	if a.File != "" {
		props = append(props, "file="+escapeProperty(a.File))
		if a.Line > 0 {
			props = append(props, fmt.Sprintf("line=%d", a.Line))
		}
	}
	if title := oneLine(a.Title, maxAnnotationTitle); title != "" {
		props = append(props, "title="+escapeProperty(title))
	}
	level := a.Level
	if level != LevelWarning {
		level = LevelError
	}
	head := "::" + string(level)
	if len(props) > 0 {
		head += " " + strings.Join(props, ",")
	}
	return head + "::" + escapeData(orDefault(clip(strings.TrimSpace(Clean(a.Message)), maxAnnotationMessage), "no message"))
}

// oneLine cleans text into one line of at most n bytes.
func oneLine(s string, n int) string { return clip(strings.Join(strings.Fields(Clean(s)), " "), n) }

// The escapes of workflow commands, as actions/toolkit's core/command.ts has them. The older form of commands, ##[…], is obeyed anywhere in a
// line and knows no escape, so it is broken apart; so are its relatives of Azure Pipelines.
var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	oldCommands     = strings.NewReplacer("##[", "# #[", "##vso[", "# #vso[")
)

func escapeData(s string) string     { return dataEscapes.Replace(oldCommands.Replace(s)) }
func escapeProperty(s string) string { return propertyEscapes.Replace(oldCommands.Replace(Clean(s))) }

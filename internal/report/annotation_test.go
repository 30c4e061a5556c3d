package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

func TestAnnotate(t *testing.T) {
	_, jobs := sampleRun()
	list, left := Annotate(jobs, "e2e/shop")
	if left != 0 {
		t.Errorf("%d left out", left)
	}
	var got []string
	for _, a := range list {
		got = append(got, fmt.Sprintf("%s %s:%d %s", a.Level, a.File, a.Line, a.Title))
	}
	want := []string{
		"error e2e/shop/tests/checkout.spec.js:10 cart › shows the total",
		"error e2e/shop/tests/onboarding.spec.js:0 errored: tests/onboarding.spec.js",
		"error e2e/shop/tests/search.spec.js:0 cancelled: tests/search.spec.js",
		"warning e2e/shop/tests/login.spec.js:4 flaky: login › keeps me signed in",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, a := range list {
		if strings.TrimSpace(a.Message) == "" {
			t.Errorf("nothing is said about %s", a.Title)
		}
	}
}

// TestAnnotatePlaces: which line a failed test is shown on.
func TestAnnotatePlaces(t *testing.T) {
	for _, test := range []struct {
		name, file, errorFile string
		line, errorLine       int
		root, want            string
	}{
		{"the failed line", "tests/a.js", "tests/a.js", 3, 9, "", "tests/a.js:9"},
		{"no file of the error", "tests/a.js", "", 3, 9, ".", "tests/a.js:9"},
		{"a helper's line", "tests/a.js", "tests/shop.js", 3, 40, "", "tests/a.js:3"},
		{"no line at all", "tests/a.js", "", 0, 0, "", "tests/a.js:0"},
		{"no file: the job's", "", "", 3, 0, "", "tests/job.js:3"},
		{"out of the project", "../../etc/passwd", "", 3, 0, "x", "x/tests/job.js:3"},
		{"absolute", "/etc/passwd", "", 3, 0, "", "tests/job.js:3"},
		{"a drive", `C:\x.js`, "", 3, 0, "", "tests/job.js:3"},
		{"a folder of the repository", "a.js", "", 1, 0, "e2e/../web", "web/a.js:1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := JobReport{Job: job(1, "tests/job.js", "v", qgjob.Failed, "a1")}
			a := attempt(1, 1, "a1", qgjob.OutcomeFailed, 1, 2)
			a.Tests = []qgjob.TestResult{{File: test.file, Title: []string{"t"}, Status: qgjob.TestFailed, Line: test.line, ErrorFile: test.errorFile, ErrorLine: test.errorLine, Message: "m"}}
			j.Attempts = []qgjob.Attempt{a}
			list, _ := Annotate([]JobReport{j}, test.root)
			if len(list) != 1 {
				t.Fatalf("%+v", list)
			}
			if got := fmt.Sprintf("%s:%d", list[0].File, list[0].Line); got != test.want {
				t.Errorf("on %s, want %s", got, test.want)
			}
			if test.errorFile == "tests/shop.js" && !strings.Contains(list[0].Message, "at tests/shop.js:40") {
				t.Errorf("the helper's line is not named: %q", list[0].Message)
			}
		})
	}
}

// TestAnnotateRanks: ten of a level, each job before the second test of any, failures before broken infrastructure.
func TestAnnotateRanks(t *testing.T) {
	var jobs []JobReport
	for n := range 8 {
		j := JobReport{Job: job(qgjob.JobID(n+1), fmt.Sprintf("tests/%d.js", n), "v", qgjob.Failed, "a1")}
		a := attempt(j.Job.JobID, 1, "a1", qgjob.OutcomeFailed, 1, 2)
		for k := range 3 {
			a.Tests = append(a.Tests, qgjob.TestResult{File: j.Job.TestPath, Title: []string{fmt.Sprintf("t%d", k)}, Status: qgjob.TestFailed, Message: "m"})
		}
		j.Attempts = []qgjob.Attempt{a}
		jobs = append(jobs, j)
	}
	for n := range 30 {
		j := JobReport{Job: job(qgjob.JobID(n+100), fmt.Sprintf("tests/e%d.js", n), "v", qgjob.Errored, "a1")}
		if n >= 15 {
			j.Job.Status, j.Job.Flaky = qgjob.Passed, true
		}
		jobs = append([]JobReport{j}, jobs...)
	}
	list, left := Annotate(jobs, "")
	if len(list) != 2*MaxAnnotations || left != 8*3+15-MaxAnnotations+15-MaxAnnotations {
		t.Fatalf("%d shown, %d left", len(list), left)
	}
	for n, a := range list[:MaxAnnotations] {
		want := fmt.Sprintf("tests/%d.js t%d", n%8, n/8)
		if got := a.File + " " + a.Title; got != want || a.Level != LevelError {
			t.Errorf("%d: %s %s, want %s", n, a.Level, got, want)
		}
	}
	if none, left := Annotate(nil, ""); len(none) != 0 || left != 0 {
		t.Error("remarks on nothing")
	}
}

func TestAnnotationCommand(t *testing.T) {
	for _, test := range []struct {
		a    Annotation
		want string
	}{
		{Annotation{Level: LevelError, File: "a.js", Line: 3, Title: "t", Message: "m"}, "::error file=a.js,line=3,title=t::m"},
		{Annotation{Level: LevelWarning, File: "a.js", Title: "t", Message: "m"}, "::warning file=a.js,title=t::m"},
		{Annotation{Level: LevelError, Message: "m"}, "::error::m"},
		{Annotation{Level: LevelError, Line: 3, Message: ""}, "::error::no message"},
		{Annotation{Level: "notice\n::x", Message: "m"}, "::error::m"},
		{Annotation{Level: LevelError, File: "a,b:c%\n.js", Title: "x::y, 100%", Message: "50% :: of\r\nit"},
			"::error file=a%2Cb%3Ac%25%0A.js,title=x%3A%3Ay%2C 100%25::50%25 :: of%0Ait"},
		{Annotation{Level: LevelError, Title: "a\n::set-output name=x::y", Message: "\x1b[31mred\x1b[0m\x1b]0;title\x07 ##[error]x ##vso[task]y"},
			"::error title=a %3A%3Aset-output name=x%3A%3Ay::red # #[error]x # #vso[task]y"},
		{Annotation{Level: LevelError, Message: "%0A::error::x"}, "::error::%250A::error::x"},
	} {
		if got := test.a.Command(); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
	long := Annotation{Level: LevelError, Title: strings.Repeat("é", 5000), Message: strings.Repeat("%", 1<<20)}.Command()
	if len(long) > 3*(maxAnnotationMessage+maxAnnotationTitle)+100 {
		t.Errorf("%d bytes", len(long))
	}
}

// command reads a workflow command as actions/runner's ActionCommand.TryParseV2 does: properties up to the first "::" behind the name, split at
// commas and the first "=".
var command = regexp.MustCompile(`^::([^ :]+)(?: (.*?))?::(.*)$`)

func FuzzAnnotationCommand(f *testing.F) {
	f.Add("a.js", "title", "message", 3)
	f.Add("a,b:c", "x::y", "::stop-commands::t\r\n##[add-mask]x", -1)
	f.Add("%0A", "%3A%3A", "%0D%25", 0)
	unescape := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	f.Fuzz(func(t *testing.T, file, title, message string, line int) {
		a := Annotation{Level: LevelError, File: file, Line: line, Title: title, Message: message}
		got := a.Command()
		if strings.ContainsAny(got, "\r\n\x1b\x07\x00") || strings.Contains(got, "##[") || strings.Contains(got, "##vso[") {
			t.Fatalf("not inert: %q", got)
		}
		parts := command.FindStringSubmatch(got)
		if parts == nil || parts[1] != "error" {
			t.Fatalf("not a command: %q", got)
		}
		if parts[2] != "" {
			for prop := range strings.SplitSeq(parts[2], ",") {
				name, value, ok := strings.Cut(prop, "=")
				if !ok || (name != "file" && name != "line" && name != "title") {
					t.Errorf("the property %q in %q", prop, got)
				}
				if name == "title" && unescape.Replace(value) != oldCommands.Replace(oneLine(title, maxAnnotationTitle)) {
					t.Errorf("title %q read as %q", title, unescape.Replace(value))
				}
			}
		}
	})
}

func TestFormatOutputs(t *testing.T) {
	const delimiter = "ABCDEFGHIJKLMNOP"
	got, err := FormatOutputs(delimiter, []Output{{"run-id", "run_1"}, {"junit", "a\nb<<X\nfailed=0"}})
	want := "run-id<<" + delimiter + "\nrun_1\n" + delimiter + "\njunit<<" + delimiter + "\na\nb<<X\nfailed=0\n" + delimiter + "\n"
	if err != nil || got != want {
		t.Errorf("%v %q", err, got)
	}
	for name, bad := range map[string]func() (string, error){
		"short delimiter": func() (string, error) { return FormatOutputs("EOF", nil) },
		"odd delimiter":   func() (string, error) { return FormatOutputs(delimiter+"\n", nil) },
		"value ends it":   func() (string, error) { return FormatOutputs(delimiter, []Output{{"a", "x\n" + delimiter + "\nb=1"}}) },
		"name ends it":    func() (string, error) { return FormatOutputs(delimiter, []Output{{"a\nb", "x"}}) },
		"no name":         func() (string, error) { return FormatOutputs(delimiter, []Output{{"", "x"}}) },
	} {
		if got, err := bad(); err == nil || got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzFormatOutputs: whatever a value holds, it is read back as it was, and as nothing else.
func FuzzFormatOutputs(f *testing.F) {
	f.Add("x\ny=1", "a<<EOF\nb\nEOF")
	f.Fuzz(func(t *testing.T, one, two string) {
		const delimiter = "Zq7Zq7Zq7Zq7Zq7Z"
		text, err := FormatOutputs(delimiter, []Output{{"one", one}, {"two", two}})
		if err != nil {
			if !strings.Contains(one+"\x00"+two, delimiter) {
				t.Error(err)
			}
			return
		}
		rest := text
		for _, want := range []Output{{"one", one}, {"two", two}} {
			head := want.Name + "<<" + delimiter + "\n"
			body, ok := strings.CutPrefix(rest, head)
			value, after, ended := strings.Cut(body, "\n"+delimiter+"\n")
			if !ok || !ended || value != want.Value {
				t.Fatalf("%q read from %q", value, text)
			}
			rest = after
		}
		if rest != "" {
			t.Errorf("%q follows", rest)
		}
	})
}

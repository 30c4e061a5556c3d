package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/qualgent/qgjob"
)

// TestParseJUnitSamples reads what Playwright 1.56.1's JUnit reporter really wrote.
func TestParseJUnitSamples(t *testing.T) {
	for name, want := range map[string][4]int{ // passed, failed, flaky, skipped
		"a": {2}, "b": {1, 1}, "c_syntax": {}, "c_throw": {}, "d_no_such_file": {}, "d_empty_file": {}, "e_skipped": {2, 0, 0, 3}, "e_all_skipped": {0, 0, 0, 1},
		"e_unexpected_pass": {0, 1}, "f_timeout": {0, 1}, "f_global_timeout": {1, 0, 0, 2}, "g_sigint": {1, 0, 0, 2}, "h_flaky": {1}, "i_before_all": {0, 1, 0, 1},
		"j_no_browser": {0, 2}, "k_app_unreachable": {0, 2},
	} {
		r, err := ParseJUnit(sample(t, name+".junit.xml"), inShop)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p, f, fl, s := r.Count(); [4]int{p, f, fl, s} != want {
			t.Errorf("%s: %d passed, %d failed, %d flaky, %d skipped, want %v", name, p, f, fl, s, want)
		}
		wantSound(t, &r)
	}
	b, err := ParseJUnit(sample(t, "b.junit.xml"), inShop)
	if err != nil {
		t.Fatal(err)
	}
	got := b.Tests[1]
	if got.File != "b_failed.spec.js" || strings.Join(got.Title, "|") != "cart|shows the wrong total" || got.DurationMS != 1293 {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.Message, `Expected: "£9.99 & <b>"`) {
		t.Errorf("message: %s", got.Message)
	}
}

// dialects is how other writers say the same.
var dialects = []struct{ name, in, want string }{
	{
		"one suite as the root",
		`<testsuite name="s" tests="1"><testcase name="a" classname="com.x.LoginTest"/></testsuite>`,
		"passed  › com.x.LoginTest › a\n",
	},
	{
		"no counts",
		`<testsuites><testsuite><testcase name="a"><failure/></testcase></testsuite></testsuites>`,
		"failed  › a\n",
	},
	{"pytest", `<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.1">` +
		`<testcase classname="tests.test_a" name="test_ok" time="0.001"/><testcase classname="tests.test_a" name="test_no"><failure message="assert 1 == 2">body</failure></testcase>` +
		`<testcase classname="tests.test_a" name="test_bad"><error message="fixture">body</error></testcase>` +
		`<testcase classname="tests.test_a" name="test_skip"><skipped type="pytest.skip" message="later"/></testcase></testsuite></testsuites>`,
		"passed  › tests.test_a › test_ok\nfailed  › tests.test_a › test_no\nfailed  › tests.test_a › test_bad\nskipped  › tests.test_a › test_skip\n"},
	{
		"failed and erred at once, counted twice",
		`<testsuite tests="1" failures="1" errors="1"><testcase name="a"><failure/><error/></testcase></testsuite>`,
		"failed  › a\n",
	},
	{
		"failed and erred at once, counted once",
		`<testsuite tests="1" failures="1" errors="0"><testcase name="a"><failure/><error/></testcase></testsuite>`,
		"failed  › a\n",
	},
	{
		"failed beside skipped",
		`<testsuite failures="1"><testcase name="a"><skipped/><failure/></testcase></testsuite>`,
		"failed  › a\n",
	},
	{
		"Surefire: flaky",
		`<testsuite tests="1" failures="0" errors="0"><testcase name="a"><flakyFailure message="first">x</flakyFailure></testcase></testsuite>`,
		"flaky  › a\n",
	},
	{
		"Surefire: failed again",
		`<testsuite tests="1" failures="1"><testcase name="a"><failure/><rerunFailure/></testcase></testsuite>`,
		"failed  › a\n",
	},
	{
		"rerun without a failure is no pass",
		`<testsuite tests="1" failures="0"><testcase name="a"><rerunFailure/></testcase></testsuite>`,
		"failed  › a\n",
	},
	{
		"GoogleTest: disabled",
		`<testsuites tests="1" failures="0" disabled="1"><testsuite tests="1" skipped="0"><testcase name="DISABLED_a" status="notrun" result="suppressed"/></testsuite></testsuites>`,
		"skipped  › DISABLED_a\n",
	},
	{
		"nested suites, outer counts all",
		`<testsuite tests="2" failures="1"><testsuite tests="2" failures="1"><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite></testsuite>`,
		"passed  › a\nfailed  › b\n",
	},
	{
		"nested suites, outer counts its own",
		`<testsuite tests="1" failures="0"><testcase name="a"/><testsuite tests="1" failures="1"><testcase name="b"><failure/></testcase></testsuite></testsuite>`,
		"passed  › a\nfailed  › b\n",
	},
	{
		"file of the case",
		`<testsuite><testcase name="a" file="/ci/shop/spec/a_spec.rb" line="12"/></testsuite>`,
		"passed spec/a_spec.rb › a\n",
	},
	{
		"file of the suite",
		`<testsuite file="tests/a.spec.js"><testcase name="a" classname="Cart"/></testsuite>`,
		"passed tests/a.spec.js › Cart › a\n",
	},
	{
		"byte order mark, comment, declaration",
		"\ufeff<?xml version=\"1.0\"?><!-- x --><testsuite><testcase name=\"a\"/></testsuite><!-- end -->\n",
		"passed  › a\n",
	},
	{
		"unknown elements",
		`<testsuite><properties><property name="x"/></properties><testcase name="a"><system-out>1</system-out></testcase><x><y/></x></testsuite>`,
		"passed  › a\n",
	},
	{
		"foreign attributes",
		`<testsuite xmlns:x="urn:x" x:failures="9" failures="0"><testcase name="a"/></testsuite>`,
		"passed  › a\n",
	},
}

// TestParseJUnitDialects reads how other writers say the same.
func TestParseJUnitDialects(t *testing.T) {
	for _, test := range dialects {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParseJUnit([]byte(test.in), inShop)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(&r); got != test.want {
				t.Errorf("tests:\n%swant:\n%s", got, test.want)
			}
			wantSound(t, &r)
		})
	}
}

func TestParseJUnitErrorOutsideTests(t *testing.T) {
	r, err := ParseJUnit([]byte(`<testsuite errors="1" tests="1"><error message="class did not load"/><testcase name="a"/></testsuite>`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) != 1 || r.Errors[0] != "class did not load" {
		t.Errorf("errors: %q", r.Errors)
	}
}

// wholeXML is a sound report of one passed and one failed test.
const wholeXML = `<testsuites tests="2" failures="1"><testsuite name="s" tests="2" failures="1"><testcase name="a"/><testcase name="b"><failure message="no">x</failure></testcase></testsuite></testsuites>`

// bomb is the billion laughs.
const bomb = `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<testsuites><testsuite name="&c;"><testcase name="a"/></testsuite></testsuites>`

// unusableXML is wholeXML with one thing wrong in each row, and what was never a report.
var unusableXML = []struct{ name, in, want string }{
	{"nothing", "", "it is empty"},
	{"blanks", " \n", "it is empty"},
	{"text", "3 passed", "begins with text"},
	{"JSON", `{"suites":[]}`, "begins with text"},
	{"HTML", "<html></html>", "begins with <html>"},
	{"cut short", wholeXML[:len(wholeXML)-20], "it is cut short"},
	{"cut short in a tag", wholeXML[:40], "it is cut short"},
	{"text after its end", wholeXML + "x", "text after its end"},
	{"two reports", wholeXML + wholeXML, "second report"},
	{"wrong end tag", `<testsuite><testcase name="a"></testsuite>`, "closed by"},
	{"entity bomb", bomb, "document type"},
	{
		"document type alone",
		`<!DOCTYPE testsuites SYSTEM "file:///etc/passwd"><testsuites/>`,
		"document type",
	},
	{"unknown entity", `<testsuite name="&x;"/>`, "invalid character entity"},
	{
		"another encoding",
		`<?xml version="1.0" encoding="UTF-7"?><testsuites/>`,
		"encoding",
	},
	{"not UTF-8", "<testsuite name=\"\xff\"/>", "invalid UTF-8"},
	{"control character", "<testsuite name=\"\x01\"/>", "illegal character"},
	{
		"two failures claimed, none there",
		strings.Replace(wholeXML, `<failure message="no">x</failure>`, "", 1),
		"says 1 failures and errors, it holds 0",
	},
	{
		"more tests claimed",
		`<testsuite tests="3"><testcase name="a"/></testsuite>`,
		"says 3 tests, it holds 1",
	},
	{
		"fewer tests claimed",
		`<testsuite tests="1"><testcase name="a"/><testcase name="b"/></testsuite>`,
		"says 1 tests, it holds 2",
	},
	{
		"a failure not counted",
		`<testsuite failures="0"><testcase name="a"><failure/></testcase></testsuite>`,
		"says 0 failures and errors, it holds 1",
	},
	{
		"errors claimed",
		`<testsuite errors="2"><testcase name="a"/></testsuite>`,
		"says 2 failures and errors",
	},
	{
		"skips claimed",
		`<testsuite skipped="1"><testcase name="a"/></testsuite>`,
		"says 1 skipped, it holds 0",
	},
	{
		"root claims failures",
		`<testsuites failures="2"><testsuite><testcase name="a"/></testsuite></testsuites>`,
		"<testsuites name=\"\"> says 2",
	},
	{"count that is none", `<testsuite failures="many"/>`, "which is no count"},
	{"negative count", `<testsuite tests="-1"/>`, "which is no count"},
	{
		"attribute twice",
		`<testsuite failures="1" failures="0"><testcase name="a"/></testsuite>`,
		"attribute failures twice",
	},
	{
		"attributes without end",
		"<testsuite " + attributes(maxAttributes+1) + "/>",
		"<testsuite> has more than 256 attributes",
	},
	{
		"case without a name",
		`<testsuite><testcase classname="a"/></testsuite>`,
		"has no name",
	},
	{
		"nested for ever",
		strings.Repeat("<testsuite>", 100_000),
		"nested more than 256 deep",
	},
	{
		"nested in what is skipped",
		"<testsuite>" + strings.Repeat("<x>", 100_000),
		"nested more than 256 deep",
	},
}

func TestParseJUnitRefuses(t *testing.T) {
	for _, test := range unusableXML {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParseJUnit([]byte(test.in), Limits{})
			if err == nil {
				t.Fatalf("accepted: %+v", r)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "JUnit report: ") {
				t.Errorf("error %q, want it to hold %q", err, test.want)
			}
			if e, ok := errors.AsType[*qgjob.Error](err); !ok || e.Kind != qgjob.KindInvalid {
				t.Errorf("error of kind %s", qgjob.KindOf(err))
			}
		})
	}
}

func TestParseJUnitLimits(t *testing.T) {
	data := sample(t, "b.junit.xml")
	for _, test := range []struct {
		limits Limits
		want   string
	}{
		{Limits{MaxBytes: 100}, "bytes long; allowed: 100"},
		{Limits{MaxTests: 1}, "more than 1 tests"},
		{Limits{MaxDepth: 2}, "nested more than 2 deep"},
	} {
		if _, err := ParseJUnit(data, test.limits); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.limits, err, test.want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]int64{"0.25": 250, "1,024.5": 1_024_500, "": 0, "fast": 0, "-1": 0, "NaN": 0, "1e300": 0, " 2 ": 2000, "Inf": 0} {
		if got := seconds(in); got != want {
			t.Errorf("seconds(%q) = %d, want %d", in, got, want)
		}
	}
}

func FuzzParseJUnit(f *testing.F) {
	for _, name := range []string{"a", "b", "c_throw", "e_skipped", "i_before_all"} {
		f.Add(sample(f, name+".junit.xml"))
	}
	f.Add([]byte(bomb))
	f.Add([]byte(`<testsuite tests="1" failures="1"><testcase name="a"><failure/><rerunFailure/></testcase><testsuite/></testsuite>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseJUnit(data, inShop)
		if err != nil {
			return
		}
		wantSound(t, &r)
		wantHonest(t, Evidence{Ended: EndExited, Report: &r})
		bad := 0
		for _, test := range r.Tests {
			if test.Status == qgjob.TestFailed {
				bad++
			}
		}
		if _, failed, _, _ := r.Count(); failed != bad {
			t.Errorf("counts %d failed, holds %d", failed, bad)
		}
		if text := fmt.Sprint(Judge(Evidence{Ended: EndExited, Report: &r}).Message); len(text) > qgjob.MaxMessage {
			t.Errorf("message of %d bytes", len(text))
		}
	})
}

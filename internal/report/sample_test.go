package report

import (
	"math"
	"time"

	"github.com/qualgent/qgjob"
)

var submitted = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

func after(s float64) *time.Time {
	t := submitted.Add(time.Duration(s * float64(time.Second)))
	return &t
}

// attempt builds one attempt of a job; times in seconds after the run's submission.
func attempt(job qgjob.JobID, number int, agent qgjob.AgentID, outcome qgjob.Outcome, from, to float64) qgjob.Attempt {
	lease := qgjob.LeaseID([]string{"", "11111111111111111111111111111111", "22222222222222222222222222222222", "33333333333333333333333333333333"}[number])
	return qgjob.Attempt{
		LeaseID: lease, JobID: job, Number: number, AgentID: agent, Outcome: outcome, OfferedAt: *after(from - 0.05), StartedAt: after(from), EndedAt: after(to),
		TestMS: int64(math.Round((to - from) * 1000)), Install: qgjob.InstallAvoided, LogBytes: 1200,
	}
}

func job(id qgjob.JobID, test string, version qgjob.AppVersionID, status qgjob.JobState, agent qgjob.AgentID) qgjob.Job {
	return qgjob.Job{
		JobID: id, RunID: 7, OrgID: "qualgent", AppVersionID: version, TestPath: test, Target: qgjob.TargetBrowser, Priority: 5, Status: status, AgentID: agent,
		Attempts: 1, SubmittedAt: submitted, StartedAt: after(1), BuildSHA256: "3f7e47a342393611801b75db27529de6af64408a3f7e47a342393611801b75db",
	}
}

// sampleRun is a run with every kind of ending in it.
func sampleRun() (qgjob.Run, []JobReport) {
	run := qgjob.Run{
		RunID: 7, OrgID: "qualgent", Conclusion: qgjob.ConclusionFailed, Installs: 3, InstallsAvoided: 5, InstallMS: 6600,
		Labels: map[string]string{"branch": "release/1.5", "commit": "4be1c0d"}, SubmittedAt: submitted, FinishedAt: after(31),
	}
	failed := job(1, "tests/checkout.spec.js", "v1.5.0", qgjob.Failed, "browser-1")
	failed.Reason, failed.Message = qgjob.ReasonAssertion, "cart › shows the total: expect(locator).toHaveText(expected) failed"
	failing := attempt(1, 1, "browser-1", qgjob.OutcomeFailed, 1, 8)
	failing.Install, failing.InstallMS, failing.ExitCode = qgjob.InstallDone, 2200, new(int)
	*failing.ExitCode = 1
	failing.Tests = []qgjob.TestResult{
		{File: "tests/checkout.spec.js", Title: []string{"cart", "opens"}, Status: qgjob.TestPassed, DurationMS: 828, Line: 3},
		{
			File: "tests/checkout.spec.js", Title: []string{"cart", "shows the total"}, Project: "Pixel 7", Status: qgjob.TestFailed, DurationMS: 1293, Line: 7,
			ErrorFile: "tests/checkout.spec.js", ErrorLine: 10, Attachment: []string{"cart-shows-the-total/test-failed-1.png", "cart-shows-the-total/trace.zip"},
			Message: "Error: expect(locator).toHaveText(expected) failed\n\nLocator:  getByTestId('total')\nExpected: \"£9.99 & <b>\"\nReceived: \"£3.50\"\nTimeout:  700ms\n\n" +
				"   8 |     await test.step('open the shop', async () => { await page.goto('/'); });\n>  10 |       await expect(page.getByTestId('total')).toHaveText('£9.99 & <b>');\n     |                                               ^",
		},
		{File: "tests/checkout.spec.js", Title: []string{"cart", "pays with a voucher"}, Status: qgjob.TestSkipped, Message: "not in this version", Line: 14},
	}
	failing.Artifacts = []qgjob.Artifact{
		{LeaseID: failing.LeaseID, Name: "cart-shows-the-total/test-failed-1.png", Size: 48_211, ContentType: "image/png"},
		{LeaseID: failing.LeaseID, Name: "cart-shows-the-total/trace.zip", Size: 1_482_113, ContentType: "application/zip"},
		{LeaseID: failing.LeaseID, Name: "report #1.json", Size: 9_120, ContentType: "application/json"},
	}

	flaky := job(2, "tests/login.spec.js", "v1.4.0", qgjob.Passed, "browser-2")
	flaky.Flaky, flaky.Attempts, flaky.Retries = true, 2, 1
	first, second := attempt(2, 1, "browser-2", qgjob.OutcomeFailed, 1.2, 9), attempt(2, 2, "browser-2", qgjob.OutcomePassed, 9.4, 14)
	first.Install, first.InstallMS = qgjob.InstallDone, 2100
	first.Reason, first.Message = qgjob.ReasonAssertion, "login › keeps me signed in: Test timeout of 5000ms exceeded."
	login := qgjob.TestResult{File: "tests/login.spec.js", Title: []string{"login", "keeps me signed in"}, Status: qgjob.TestFailed, DurationMS: 5004, Line: 4, Message: "Test timeout of 5000ms exceeded."}
	first.Tests = []qgjob.TestResult{login}
	login.Status, login.Message, login.DurationMS = qgjob.TestPassed, "", 1400
	second.Tests = []qgjob.TestResult{login}

	errored := job(3, "tests/onboarding.spec.js", "v1.5.0", qgjob.Errored, "browser-3")
	errored.Reason, errored.Attempts = qgjob.ReasonDevice, 2
	errored.Message = "infrastructure: onboarding › welcome: browserType.launch: Failed to launch chromium\nfull text of the launch follows"
	broken := attempt(3, 2, "browser-3", qgjob.OutcomeErrored, 12, 16)
	broken.Install, broken.InstallMS, broken.Reason, broken.Message = qgjob.InstallDone, 2300, qgjob.ReasonDevice, errored.Message
	lost := attempt(3, 1, "browser-1", qgjob.OutcomeLost, 8.3, 11.5)
	lost.Reason = qgjob.ReasonAgentLost

	cancelled := job(4, "tests/search.spec.js", "v1.5.0", qgjob.Cancelled, "")
	cancelled.Reason, cancelled.Attempts, cancelled.StartedAt = qgjob.ReasonCancelled, 0, nil
	jobs := []JobReport{
		{failed, []qgjob.Attempt{failing}},
		{flaky, []qgjob.Attempt{first, second}},
		{errored, []qgjob.Attempt{lost, broken}},
		{cancelled, nil},
	}
	for i, name := range []string{"tests/catalogue.spec.js", "tests/account.spec.js", "tests/a/very/deep/folder/with-a-long-name/product-page.spec.js", "tests/order.spec.js"} {
		id, agent, from := qgjob.JobID(5+i), qgjob.AgentID([]string{"browser-1", "browser-2"}[i%2]), 14.5+4*float64(i)
		a := attempt(id, 1, agent, qgjob.OutcomePassed, from, from+3.4)
		a.Tests = []qgjob.TestResult{
			{File: name, Title: []string{"works"}, Status: qgjob.TestPassed, DurationMS: 900},
			{File: name, Title: []string{"works offline"}, Status: qgjob.TestPassed, DurationMS: 1200},
		}
		jobs = append(jobs, JobReport{job(id, name, qgjob.AppVersionID([]string{"v1.5.0", "v1.4.0"}[i%2]), qgjob.Passed, agent), []qgjob.Attempt{a}})
	}
	return run, jobs
}

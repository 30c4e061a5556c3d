package store

import (
	"fmt"
	"math"
	"slices"

	"github.com/qualgent/qgjob"
	"github.com/qualgent/qgjob/internal/schedule"
)

// learnt is what the writer remembers of the estimates: rows are read when
// they are first asked for and kept. It is thrown away with the mirror, and
// when it has grown beyond learntLimit entries.
type learnt struct {
	tests    map[testKey]schedule.Estimate
	installs map[installKey]schedule.Estimate
	averages map[averageKey]schedule.Average
	failing  map[testKey]bool // whether the last attempt failed; of tests whose estimate is known
}

const learntLimit = 100_000

type testKey struct {
	org    qgjob.OrgID
	path   string
	target qgjob.Target
}

type installKey struct {
	build  schedule.Build
	target qgjob.Target
}

type averageKey struct {
	org  qgjob.OrgID
	what string
}

const (
	whatTest    = "test"
	whatInstall = "install"
)

func newLearnt() learnt {
	return learnt{tests: map[testKey]schedule.Estimate{}, installs: map[installKey]schedule.Estimate{}, averages: map[averageKey]schedule.Average{}, failing: map[testKey]bool{}}
}

// expectTest gives the seconds that a test is expected to take, in whole
// milliseconds: the database keeps those, and its sums must be the mirror's.
func (t *tx) expectTest(k testKey) (float64, error) {
	e, err := t.testEstimate(k)
	if err != nil {
		return 0, err
	}
	a, err := t.average(averageKey{k.org, whatTest})
	return wholeMS(e.Expect(a.Or(schedule.DefaultEstimate))), err
}

// wholeMS rounds seconds so that cutting their thousandfold off gives the
// nearest millisecond: 1.001 * 1000 is 1000.9999999999999.
func wholeMS(seconds float64) float64 {
	near := math.Round(seconds * 1000)
	rounded := near / 1000
	if rounded*1000 < near {
		rounded = math.Nextafter(rounded, math.Inf(1))
	}
	return rounded
}

// expectInstall gives the seconds that an install is expected to take.
func (t *tx) expectInstall(k installKey) (float64, error) {
	e, err := t.installEstimate(k)
	if err != nil {
		return 0, err
	}
	a, err := t.average(averageKey{k.build.Org, whatInstall})
	return e.Expect(a.Or(schedule.DefaultInstall)), err
}

// foreseeAtOnce is how many questions foresee sends together.
const foreseeAtOnce = 500

// foresee reads what installs of these groups are expected to take all at
// once, so that a start with thousands of groups is not as many round trips.
func (t *tx) foresee(groups []groupKey) error {
	m := t.m.learnt
	for _, g := range groups {
		k, a := installKey{schedule.Build{Org: g.org, Version: g.version, SHA: g.build}, g.target}, averageKey{g.org, whatInstall}
		if _, known := m.installs[k]; !known {
			m.installs[k] = schedule.Estimate{}
			t.ask(installQuery, k.args(), func(row scanner) error {
				var e schedule.Estimate
				err := row.Scan(&e.N, &e.Mean)
				m.installs[k] = e
				return err
			})
		}
		if _, known := m.averages[a]; !known {
			m.averages[a] = schedule.Average{}
			t.ask(averageQuery, []any{string(a.org), a.what}, func(row scanner) error {
				var v schedule.Average
				err := row.Scan(&v.N, &v.Sum)
				m.averages[a] = v
				return err
			})
		}
		if len(t.pending) < foreseeAtOnce {
			continue
		}
		if err := t.sync(); err != nil {
			return err
		}
	}
	return t.sync()
}

const (
	installQuery = `SELECT n, mean_s FROM install_estimates WHERE org_id = $1 AND app_version_id = $2 AND build_sha256 = $3 AND target = $4`
	averageQuery = `SELECT n, sum_s FROM org_averages WHERE org_id = $1 AND what = $2`
)

func (k installKey) args() []any {
	return []any{string(k.build.Org), string(k.build.Version), string(k.build.SHA), string(k.target)}
}

func (t *tx) testEstimate(k testKey) (e schedule.Estimate, err error) {
	known := t.m.learnt.tests
	if e, ok := known[k]; ok {
		return e, nil
	}
	failing := false
	if _, err = t.queryRow(`SELECT n, mean_s, last_failed FROM test_estimates WHERE org_id = $1 AND test_path = $2 AND target = $3`,
		[]any{string(k.org), k.path, string(k.target)}, &e.N, &e.Mean, &failing); err != nil {
		return e, fmt.Errorf("read the estimate of %s: %w", k.path, err)
	}
	if len(known) > learntLimit {
		clear(known)
		clear(t.m.learnt.failing)
	}
	known[k], t.m.learnt.failing[k] = e, failing
	return e, nil
}

// rank is a test's place in its run: those that are new, or failed when they
// last ran, come first, so that bad news comes early. The test's estimate has
// been asked for before.
func (t *tx) rank(k testKey) int {
	if t.m.learnt.failing[k] || t.m.learnt.tests[k].N == 0 {
		return 0
	}
	return 1
}

func (t *tx) installEstimate(k installKey) (e schedule.Estimate, err error) {
	known := t.m.learnt.installs
	if e, ok := known[k]; ok {
		return e, nil
	}
	if _, err = t.queryRow(installQuery, k.args(), &e.N, &e.Mean); err != nil {
		return e, fmt.Errorf("read the install estimate of %s: %w", k.build.Version, err)
	}
	if len(known) > learntLimit {
		clear(known)
	}
	known[k] = e
	return e, nil
}

func (t *tx) average(k averageKey) (a schedule.Average, err error) {
	known := t.m.learnt.averages
	if a, ok := known[k]; ok {
		return a, nil
	}
	if _, err = t.queryRow(averageQuery, []any{string(k.org), k.what}, &a.N, &a.Sum); err != nil {
		return a, fmt.Errorf("read the averages of %s: %w", k.org, err)
	}
	if len(known) > learntLimit {
		clear(known)
	}
	known[k] = a
	return a, nil
}

// learn takes what an attempt says of how long its test and its install take.
// A test that timed out, or that infrastructure broke, says nothing of that,
// nor does a result without a duration. An install may take no time at all.
func (t *tx) learn(j *jobRow, req *qgjob.CompleteRequest) error {
	k := testKey{j.org, j.testPath, j.target}
	ended := req.Outcome == qgjob.OutcomePassed || (req.Outcome == qgjob.OutcomeFailed && req.Reason != qgjob.ReasonTimeout)
	if ended && req.TestMS > 0 {
		if err := t.learnTest(k, float64(req.TestMS)/1000, req.Outcome == qgjob.OutcomeFailed); err != nil {
			return err
		}
	} else if req.Outcome == qgjob.OutcomeFailed {
		t.m.learnt.failing[k] = true
		if err := t.write("note the failure of "+k.path, `INSERT INTO test_estimates (org_id, test_path, target, n, mean_s, last_failed) VALUES ($1, $2, $3, 0, 0, 1)
			ON CONFLICT (org_id, test_path, target) DO UPDATE SET last_failed = 1`, string(k.org), k.path, string(k.target)); err != nil {
			return err
		}
	}
	if req.Install == qgjob.InstallDone {
		return t.learnInstall(j, float64(req.InstallMS)/1000)
	}
	return nil
}

func (t *tx) learnTest(k testKey, seconds float64, failed bool) error {
	e, err := t.testEstimate(k)
	if err != nil {
		return err
	}
	e = e.Observe(seconds)
	t.m.learnt.tests[k], t.m.learnt.failing[k] = e, failed
	if err := t.write("write the estimate of "+k.path, `INSERT INTO test_estimates (org_id, test_path, target, n, mean_s, last_failed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (org_id, test_path, target) DO UPDATE SET n = excluded.n, mean_s = excluded.mean_s, last_failed = excluded.last_failed`,
		string(k.org), k.path, string(k.target), e.N, e.Mean, flag(failed)); err != nil {
		return err
	}
	return t.learnAverage(averageKey{k.org, whatTest}, seconds)
}

func (t *tx) learnInstall(j *jobRow, seconds float64) error {
	k := installKey{schedule.Build{Org: j.org, Version: j.version, SHA: j.build}, j.target}
	e, err := t.installEstimate(k)
	if err != nil {
		return err
	}
	e = e.Observe(seconds)
	t.m.learnt.installs[k] = e
	if err := t.write("write the install estimate of "+string(j.version), `INSERT INTO install_estimates (org_id, app_version_id, build_sha256, target, n, mean_s) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (org_id, app_version_id, build_sha256, target) DO UPDATE SET n = excluded.n, mean_s = excluded.mean_s`,
		string(j.org), string(j.version), string(j.build), string(j.target), e.N, e.Mean); err != nil {
		return err
	}
	if err := t.learnAverage(averageKey{j.org, whatInstall}, seconds); err != nil {
		return err
	}
	return t.followInstalls(j.org)
}

// followInstalls gives an org's groups what their installs are expected to
// take now: one that was done says something of those that were not, too.
func (t *tx) followInstalls(org qgjob.OrgID) error {
	for of, id := range t.m.groups {
		g, ok := t.m.state.Group(id)
		if !ok || of.org != org {
			continue
		}
		expected, err := t.expectInstall(installKey{g.Build, g.Target})
		if err != nil {
			return err
		}
		if expected != g.Install {
			g.Install = expected
			t.m.state.SetGroup(g)
		}
		if err := t.knowUpload(installKey{g.Build, g.Target}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) learnAverage(k averageKey, seconds float64) error {
	a, err := t.average(k)
	if err != nil {
		return err
	}
	a = a.Observe(seconds)
	t.m.learnt.averages[k] = a
	if l := (learntOf{k.org, k.what}); !slices.Contains(t.turn.Learnt, l) {
		t.turn.Learnt = append(t.turn.Learnt, l)
	}
	return t.write("write the averages of "+string(k.org), `INSERT INTO org_averages (org_id, what, n, sum_s, flush) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (org_id, what) DO UPDATE SET n = excluded.n, sum_s = excluded.sum_s, flush = excluded.flush`, string(k.org), k.what, a.N, a.Sum, t.flush)
}

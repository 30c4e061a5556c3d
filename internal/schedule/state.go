package schedule

import (
	"slices"
	"sort"

	"github.com/qualgent/qgjob"
)

// State is everything a decision looks at: a mirror of orgs, groups and
// agents with the indexes that make deciding cheap. Its owner keeps it up to
// date by Set… and Remove… calls, each of which takes the whole record. A
// State and everything called with it belong to one goroutine at a time:
// decisions use its scratch space.
type State struct {
	orgs    map[qgjob.OrgID]*org
	groups  map[qgjob.GroupID]*group
	agents  map[qgjob.AgentID]*agent
	builds  map[Build]*build
	serving map[qgjob.GroupID][]*agent // agents with a job of the group in hand, by id
	classes []*class                   // distinct (org, target, requirements); nil where one was dropped
	queue   []*group                   // groups with waiting jobs, by id
	fleet   []*agent                   // by id
	speed   float64                    // of all agents that are up and not draining; valid when fresh
	fresh   bool
	load    Load
	scratch scratch
}

type group struct {
	Group
	org     *org
	build   *build
	class   int
	serving []*agent
}

type agent struct {
	Agent
	build *build
	match []bool // by class
}

// build is a Build given an address, so that comparing two is one comparison.
type build struct {
	refs     int
	uploaded bool
	ready    float64 // when the shared upload is, or will be, done
}

// class is one distinct demand on agents.
type class struct {
	refs     int
	org      qgjob.OrgID
	target   qgjob.Target
	requires map[string]string
	speed    float64 // of the agents that could serve it, up and not draining; valid when fresh
	fresh    bool
}

// NewState gives an empty state whose load estimate starts at the instant
// given.
func NewState(since float64) *State {
	return &State{
		orgs:    map[qgjob.OrgID]*org{},
		groups:  map[qgjob.GroupID]*group{},
		agents:  map[qgjob.AgentID]*agent{},
		builds:  map[Build]*build{},
		serving: map[qgjob.GroupID][]*agent{},
		load:    Load{Since: since},
	}
}

// SetOrg adds an org or replaces its record. An org that is never set has
// weight 1 and no quota.
func (st *State) SetOrg(o Org) {
	if o.Weight <= 0 {
		o.Weight = 1
	}
	st.org(o.ID).Org = o
}

// Org gives an org's record; a new one for an org that was never set.
func (st *State) Org(id qgjob.OrgID) Org {
	if o := st.orgs[id]; o != nil {
		return o.Org
	}
	return Org{ID: id, Weight: 1}
}

func (st *State) org(id qgjob.OrgID) *org {
	o := st.orgs[id]
	if o == nil {
		o = &org{Org: Org{ID: id, Weight: 1}}
		st.orgs[id] = o
	}
	return o
}

// SetGroup adds a group or replaces its record.
func (st *State) SetGroup(g Group) {
	have := st.groups[g.ID]
	if have != nil && (have.Build != g.Build || have.Target != g.Target || !sameLabels(have.Requires, g.Requires)) {
		st.RemoveGroup(g.ID)
		have = nil
	}
	if have == nil {
		have = &group{
			Group:   Group{ID: g.ID},
			org:     st.org(g.Build.Org),
			build:   st.hold(g.Build),
			class:   st.classOf(g.Build.Org, g.Target, g.Requires),
			serving: st.serving[g.ID],
		}
		st.groups[g.ID] = have
	}
	queue := g.Queue
	g.Queue = have.Queue
	have.Group = g
	st.SetQueue(g.ID, queue)
}

// SetQueue replaces the aggregates of a group and reports whether the state
// knows the group.
func (st *State) SetQueue(id qgjob.GroupID, q Queue) bool {
	g := st.groups[id]
	if g == nil {
		return false
	}
	was, is := g.Waiting > 0, q.Waiting > 0
	g.Queue = q
	if was == is {
		return true
	}
	at := sort.Search(len(st.queue), func(i int) bool { return st.queue[i].ID >= id })
	if is {
		st.queue = slices.Insert(st.queue, at, g)
	} else {
		st.queue = slices.Delete(st.queue, at, at+1)
	}
	return true
}

// Group gives a group's record.
func (st *State) Group(id qgjob.GroupID) (Group, bool) {
	if g := st.groups[id]; g != nil {
		return g.Group, true
	}
	return Group{}, false
}

// RemoveGroup forgets a group. Agents that serve it still count as serving it
// when it comes back.
func (st *State) RemoveGroup(id qgjob.GroupID) {
	g := st.groups[id]
	if g == nil {
		return
	}
	st.SetQueue(id, Queue{})
	st.release(g.Build)
	st.dropClass(g.class)
	delete(st.groups, id)
}

// Waiting counts the groups that have waiting jobs.
func (st *State) Waiting() int { return len(st.queue) }

// SetUpload notes that the shared upload of a build is done, or will be, at
// the instant given.
func (st *State) SetUpload(b Build, ready float64) {
	have := st.builds[b]
	if have == nil || !have.uploaded {
		have = st.hold(b)
	}
	have.uploaded, have.ready = true, ready
}

// Upload gives when the shared upload of a build is, or will be, done; false
// when there is none.
func (st *State) Upload(b Build) (ready float64, ok bool) {
	if have := st.builds[b]; have != nil && have.uploaded {
		return have.ready, true
	}
	return 0, false
}

// ForgetUpload notes that a build is not, or no longer, uploaded.
func (st *State) ForgetUpload(b Build) {
	if have := st.builds[b]; have != nil && have.uploaded {
		have.uploaded = false
		st.release(b)
	}
}

func (st *State) hold(b Build) *build {
	if b == (Build{}) {
		return nil
	}
	have := st.builds[b]
	if have == nil {
		have = &build{}
		st.builds[b] = have
	}
	have.refs++
	return have
}

func (st *State) release(b Build) {
	have := st.builds[b]
	if have == nil {
		return
	}
	have.refs--
	if have.refs == 0 {
		delete(st.builds, b)
	}
}

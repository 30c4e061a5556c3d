package schedule

// hold notes the groups that other agents keep for themselves.
func (d *decision) hold() {
	s := &d.st.scratch
	s.held = s.held[:0]
	for _, a := range d.st.fleet {
		if a != d.agent && a.Holds != 0 && a.Up {
			s.held = append(s.held, a.Holds)
		}
	}
}

// compare takes the group with the best head. It is what RuleFIFO,
// RulePriority and RulePin do: installs and fairness do not count.
func (d *decision) compare() {
	s := &d.st.scratch
	var best *group
	for i := range s.candidates {
		g := s.candidates[i].group
		switch {
		case best == nil:
			best = g
		case d.policy.Rule == RulePin && (best.ID == d.agent.Holds || g.ID == d.agent.Holds):
			if g.ID == d.agent.Holds {
				best = g
			}
		case d.policy.Rule != RuleFIFO && g.HeadPriority != best.HeadPriority:
			if g.HeadPriority > best.HeadPriority {
				best = g
			}
		case g.HeadSubmitted < best.HeadSubmitted:
			best = g
		}
	}
	if best != nil {
		d.choice.Group, d.choice.Install = best.ID, d.install(best)
	}
	s.held = s.held[:0]
}

// outrank gives a reason to every candidate that lost, when reasons are
// wanted.
func (d *decision) outrank() {
	if d.list == nil || d.choice.Group == 0 {
		return
	}
	for _, c := range d.st.scratch.candidates {
		if c.group.ID != d.choice.Group && !c.refused {
			d.refuse(Refusal{Group: c.group.ID, Reason: Outranked, By: d.choice.Group})
		}
	}
}

// refuse counts a refusal and, when reasons are wanted, notes it.
func (d *decision) refuse(r Refusal) {
	d.choice.Refused[r.Reason]++
	if d.list != nil {
		*d.list = append(*d.list, r)
	}
}

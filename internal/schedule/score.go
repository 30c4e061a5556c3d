package schedule

// score says how much a candidate deserves the agent, in seconds of waiting.
// fleet is the speed of all agents that could serve it.
func (d *decision) score(c *candidate, serving crew, fleet float64) float64 {
	g, p := c.group, &d.policy
	alone := (g.Work + serving.work) / fleet // seconds until the group ended if all helped
	waited := d.now - g.HeadSubmitted
	score := p.PerLevel*float64(c.prio) + waited
	score += p.Smallness * waited / max(shortest, alone/float64(max(1, g.Runs))+g.Install)
	score -= saturate(p.Nearness*alone, p.Nearest)
	score -= p.Affinity * c.install
	if c.install > 0 && c.prio <= d.warm {
		score -= p.Keep
	}
	if active := len(d.st.scratch.orgs); active >= 2 {
		lag := g.org.lag / (d.st.fleetSpeed() / float64(active))
		score -= p.Fairness * max(0, lag-p.Tolerance)
	}
	return score
}

// shortest keeps the smallest runs from weighing without bound, in seconds.
const shortest = 60.0

// saturate is x while x is small against the limit, and never more than the
// limit; it keeps the order.
func saturate(x, limit float64) float64 {
	if x <= 0 {
		return 0
	}
	return limit * x / (limit + x)
}

// joinGain gives by how many seconds a group would end sooner if an agent of
// that speed joined those that serve it, after an install. It is the lesser of
// two views: the waiting work as a fluid that flows to whoever is there; and
// the work in hand included, where nobody helps a group that ends with a long
// test which is running already.
func joinGain(work float64, serving crew, speed, install float64) float64 {
	k, with := serving.speed, serving.speed+speed
	fluid := (work - k*install) / (k * with) * speed
	before := max(serving.longest, (work+serving.rest)/k)
	after := max(serving.longest, (work+serving.rest+install*speed)/with)
	return min(fluid, before-after)
}

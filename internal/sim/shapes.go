package sim

// The shapes that Generate knows. Their numbers are those of the published
// workloads, as far as one file of each shows them.

func (m *maker) nightly() {
	m.fleet(20)
	m.orgs(1, 500)
	for range 3 {
		m.run(0, 0, m.app(0, m.uniform(30, 120)), 500, 3, nil)
	}
}

// pullRequests submits runs of equal size, one build each, at random times and
// at a share of what the fleet can do.
func (m *maker) pullRequests(agents, orgs, runs int, load float64, size int, low, high float64) {
	m.fleet(agents)
	m.orgs(orgs, 60)
	gap := float64(size) * 60 / (float64(agents) * load)
	at := 0.0
	for i := range runs {
		at += m.after(gap)
		m.run(at, i%orgs, m.app(i%orgs, m.uniform(low, high)), size, 5, nil)
	}
}

func (m *maker) lowload() {
	m.fleet(10)
	m.orgs(2, 60)
	at := 0.0
	for i := range 20 {
		at += m.after(650)
		m.run(at, i%2, m.app(i%2, m.uniform(20, 120)), 10+m.r.IntN(31), 5, nil)
	}
}

func (m *maker) noisy() {
	m.fleet(16)
	m.orgs(1, 100)
	m.orgs(5, 30)
	for range 40 {
		m.run(m.uniform(0, 600), 0, m.app(0, m.uniform(20, 100)), 50, 5, nil)
	}
	for org := 1; org <= 5; org++ {
		m.w.Orgs[org].Victim = true
		for at := m.after(700); at < 7200; at += m.after(700) {
			m.run(at, org, m.app(org, m.uniform(20, 100)), 10, 5, nil)
		}
	}
}

func (m *maker) hotfix() {
	m.fleet(12)
	m.orgs(2, 150)
	for i := range 8 {
		m.run(0, i%2, m.app(i%2, m.uniform(30, 120)), 100, 3, nil)
	}
	for i := range 5 {
		m.run(m.uniform(300, 3600), i%2, m.app(i%2, m.uniform(30, 120)), 20, 10, nil)
	}
}

func (m *maker) heavytail() {
	m.durations = m.tailed
	m.fleet(16)
	m.orgs(3, 80)
	at := 0.0
	for i := range 25 {
		at += m.after(125)
		m.run(at, i%3, m.app(i%3, m.uniform(20, 120)), 40, 4+m.r.IntN(4), nil)
	}
}

func (m *maker) hetero() {
	for range 10 {
		m.agent(m.uniform(0.8, 1.2), 1, false, "cap0", "cap1")
	}
	for i := range 6 {
		labels := []string{"cap0", "cap2", "cap3"}
		if i < 4 {
			labels = labels[:2]
		}
		m.agent(m.uniform(0.75, 1), 1.3, false, labels...)
	}
	for range 4 {
		m.agent(m.uniform(0.85, 1), 1.5, false, "cap2", "cap4")
	}
	for range 8 {
		m.agent(0.7, 1, true, "cap5")
	}
	m.orgs(4, 60)
	sizes := []int{25, 30, 20, 15, 30}
	needs := [][]string{{"cap0"}, {"cap0", "cap1"}, {"cap0", "cap2"}, {"cap4"}, {"cap5"}}
	at := 0.0
	for i := range 45 {
		at += m.after(170)
		kind, priority := i%5, 5
		if kind == 2 {
			priority = 6
		}
		m.run(at, i%4, m.app(i%4, m.uniform(20, 100)), sizes[kind], priority, func(i int) []string {
			if kind == 2 && i%4 == 3 {
				return []string{"cap0", "cap2", "cap3"}
			}
			return needs[kind]
		})
	}
}

// mixedday has branches that are pushed to more than once: some app versions
// are tested by two or three runs.
func (m *maker) mixedday() {
	for range 24 {
		m.agent(m.uniform(0.85, 1.15), 1, false, "cap0")
	}
	m.orgs(2, 400)
	m.orgs(2, 100)
	for i := range 2 {
		m.run(float64(120*i), i, m.app(i, m.uniform(20, 110)), 400, 2, nil)
	}
	last := []int{-1, -1, -1, -1}
	for at := m.after(200); at < 10800; at += m.after(200) {
		org := m.r.IntN(4)
		if last[org] < 0 || m.r.Float64() < 0.8 {
			last[org] = m.app(org, m.uniform(20, 110))
		}
		m.run(at, org, last[org], 5+m.r.IntN(40), 4+m.r.IntN(3), nil)
	}
	for range 2 {
		org := m.r.IntN(4)
		m.run(m.uniform(3000, 9000), org, m.app(org, m.uniform(20, 110)), 20+m.r.IntN(10), 9, nil)
	}
}

func (m *maker) starve() {
	m.fleet(10)
	m.orgs(1, 60)
	at := 0.0
	for range 60 {
		at += m.after(180)
		m.run(at, 0, m.app(0, m.uniform(20, 80)), 30, 8, nil)
	}
	m.run(600, 0, m.app(0, m.uniform(20, 80)), 10, 1, nil)
}
